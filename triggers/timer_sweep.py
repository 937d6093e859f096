"""The timer: starts whatever SQL says is due, also what a crash or a lost start left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import azure.functions as func

from services.deps import Deps
from triggers.http import SWEEP, Start, deploy_set, register_image
from triggers.starting import Starter, start_all

log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Orchestrations started by one tick; the next tick takes the rest."""


def due(deps: Deps) -> tuple[Start, ...]:
    """What should be running now. Starting what runs already changes nothing."""
    registrations = deps.store.images.open_registrations(_AT_ONCE)
    sets = deps.store.sets.needing_drive(deps.now(), _AT_ONCE)
    return (
        *(register_image(registration_id) for registration_id in registrations),
        *(deploy_set(set_id) for set_id in sets),
        SWEEP,
    )


def serve_timer(deps: Callable[[], Deps]) -> Callable[..., Any]:
    async def run(timer: func.TimerRequest, client: Starter) -> None:
        if timer.past_due:
            log.info("the sweep is late")
        await start_all(client, await asyncio.to_thread(lambda: due(deps())))

    return run
