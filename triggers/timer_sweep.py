"""The timer: starts whatever SQL says is due, also what a crash or a lost start left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import azure.functions as func

from services.deps import Deps
from triggers.due import due
from triggers.http import SWEEP
from triggers.starting import Starter, start_all

log = logging.getLogger(__name__)


def serve_timer(deps: Callable[[], Deps]) -> Callable[..., Any]:
    async def run(timer: func.TimerRequest, client: Starter) -> None:
        if timer.past_due:
            log.info("the sweep is late")
        await start_all(client, await asyncio.to_thread(lambda: (*due(deps()), SWEEP)))

    return run
