"""Give the planning of a set up, until the next of its members has to be planned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.deps import Deps


def end_plan(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId", "claim"}`` -> ``{}``."""
    deps.store.sets.end_plan(payload["setId"], datetime.fromisoformat(payload["claim"]), deps.now())
    return {}
