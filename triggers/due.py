"""What SQL says should be running, and the activity by which an orchestration has it started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from services.deps import Deps
from triggers.http import Start, build_patch, deploy_set, publish_patch, register_image
from triggers.starting import Starter, start_all

AT_ONCE = 200
"""Orchestrations of a kind that are started at once; the next look takes the rest."""
LANES = 4
"""Patches that are built side by side: as many as instances can soon be had for, and no more than others can wait
for. Each that ends has the next one started."""


def due(deps: Deps) -> tuple[Start, ...]:
    """What should be running now. Starting what runs already changes nothing."""
    store, now = deps.store, deps.now()
    return (
        *(register_image(registration_id) for registration_id in store.images.open_registrations(AT_ONCE)),
        *(deploy_set(set_id) for set_id in store.sets.to_plan(now, AT_ONCE)),
        *(publish_patch(patch_id) for patch_id in store.patches.to_publish(now, AT_ONCE)),
        *(build_patch(patch_id) for patch_id in store.patches.to_build(now, LANES)),
    )


def serve_start_due(deps: Callable[[], Deps]) -> Callable[..., Any]:
    async def start_due(payload: dict, client: Starter) -> dict:  # type: ignore[type-arg]  # as in activities.binding
        await start_all(client, await asyncio.to_thread(lambda: due(deps())))
        return {"ok": True, "value": {}}

    return start_due
