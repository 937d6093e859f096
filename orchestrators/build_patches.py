"""Build a batch of patches in a few lanes.

Steps of builds stand in one queue with all others, and each instance works on one at a time. So only a few of them
stand there at once: as many as instances can soon be had for, and no more than others can wait for.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context

_LANES = 4


def build_patches(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"worker", "ids"}``; ``worker`` is the orchestration of the set, which keeps its leases."""
    given = context.get_input()
    ids = given["ids"]
    lanes = [{"worker": given["worker"], "ids": ids[first::_LANES]} for first in range(min(_LANES, len(ids)))]
    built = yield context.task_all([context.call_sub_orchestrator("build_lane", lane) for lane in lanes])
    return {"built": sum(lane["built"] for lane in built)}
