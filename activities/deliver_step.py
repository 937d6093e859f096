"""The next step of delivering a patch: its build goes on, and once it is verified the first who wait get it at once.

One activity for both, since activities stand in one queue: as a step of its own, publishing would wait until every
other build has done a step.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from activities.build_step import build_step
from activities.publish_batch import publish_batch
from imagedelta.errors import ImageDeltaError
from services.deps import Deps

log = logging.getLogger("imagedelta.steps")


def deliver_step(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"patchId", "worker"}`` -> the answer of ``build_step``; with ``verified`` also ``after``: behind which
    transfer the patch is still to be published, None when everybody has it."""
    answer = build_step(deps, payload)
    return answer | {"after": _published(deps, payload["patchId"])} if answer["state"] == "verified" else answer


def _published(deps: Deps, patch_id: str) -> str | None:
    try:
        after: str | None = publish_batch(deps, {"patchId": patch_id, "after": ""})["after"]
    except ImageDeltaError as error:  # the patch is built all the same
        log.warning("patch %s is published later: %s", patch_id, error)
        return ""
    return after
