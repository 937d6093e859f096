"""Derive a set's state from its members, and say which of them are to be released or confirmed now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.deps import Deps


def settle_set(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId"}`` -> ``{"state", "release": [device, …], "confirm": [device, …]}``, a batch of each at most."""
    set_id = payload["setId"]
    settled = deps.store.sets.settle(set_id, deps.now())
    size = deps.settings.batch_size
    return {
        "state": settled.state,
        "release": list(deps.store.sets.members_to_release(set_id))[:size],
        "confirm": list(deps.store.sets.members_to_confirm(set_id))[:size],
    }
