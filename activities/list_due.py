"""What the sweep has to do now: sets to settle, mails to send, device twins to bring up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.deps import Deps


def list_due(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"of": "sets"|"messages"}`` -> ``{"sets"}`` or ``{"notifications", "devices"}``, ids, a batch of each."""
    size, now = deps.settings.batch_size, deps.now()
    if payload["of"] == "sets":
        return {"sets": list(deps.store.sets.needing_settle(now, size))}
    return {
        "notifications": list(deps.store.notifications.due(now, size)),
        "devices": list(deps.store.devices.devices_to_sync(now, size)),
    }
