"""Start a batch of members that are planned and weighed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.deps import Deps


def start_batch(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId", "range": [first device, last device], "weighedAt"}`` -> ``{}``."""
    first, last = payload["range"]
    weighed_at = datetime.fromisoformat(payload["weighedAt"])
    deps.store.sets.start(payload["setId"], (first, last), weighed_at, deps.now())
    return {}
