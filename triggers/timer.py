"""The timer: does what is due, and starts what SQL says should run, also what a crash or a lost start left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import azure.functions as func

from services.deps import Deps
from triggers.due import due
from triggers.starting import Starter, start_all

log = logging.getLogger(__name__)

Attend = Callable[[Deps, Mapping[str, Any]], Mapping[str, Any]]


def serve_timer(attend: Attend, deps: Callable[[], Deps]) -> Callable[..., Any]:
    """The function of the timer. What runs long is started before what is due is done: it need not wait for it."""

    async def run(timer: func.TimerRequest, client: Starter) -> None:
        if timer.past_due:
            log.info("the timer is late")
        try:
            await start_all(client, await asyncio.to_thread(lambda: due(deps())))
        finally:
            done = await asyncio.to_thread(_attend, attend, deps)
            log.info("attended: %s", done)

    return run


def _attend(attend: Attend, deps: Callable[[], Deps]) -> Mapping[str, Any]:
    return attend(deps(), {"seconds": deps().settings.attend_seconds})
