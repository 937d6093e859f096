"""Forgetting what has been kept long enough: rows in SQL, patches nobody uses, blobs of work that is over.

Each part is short and its own transaction, so a run may end anywhere; the next one goes on. Source: docs/schema.md,
"Retention".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from services.deps import Deps

log = logging.getLogger(__name__)

BLOBS = {"scratch": timedelta(days=7), "intake": timedelta(days=30)}
"""Container -> how long its blobs are kept: parts of builds that were given up, archives that were read."""


def purge(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Go on for at most about ``seconds``; whether there is more to do.

    Never part of an orchestration: it is its own timer's, which calls it again in any case.
    """
    end = time.monotonic() + payload["seconds"]
    for _ in _parts(deps):
        if time.monotonic() >= end:
            return {"more": True}
    return {"more": False}


def _parts(deps: Deps) -> Iterator[None]:
    for kind in deps.store.retention.kinds:
        after: Any = None
        while (after := deps.store.retention.forget(kind, after, deps.now())) is not None:
            yield
        yield
    yield from _old_patches(deps)
    yield from _old_blobs(deps)


def _old_patches(deps: Deps) -> Iterator[None]:
    while (taken := deps.store.retention.patches.take(deps.now())) is not None:
        patch_id, blob = taken
        if blob is not None:
            for found in list(deps.blobs.list("patches", blob)):  # with its chunk list
                deps.blobs.delete("patches", found.name)
        deps.store.retention.patches.forget(patch_id, deps.now())
        log.info("patch %s was not used for long and is gone", patch_id)
        yield


def _old_blobs(deps: Deps) -> Iterator[None]:
    for container, age in BLOBS.items():
        cutoff = deps.now() - age
        for name in [blob.name for blob in deps.blobs.list(container) if blob.modified < cutoff]:
            deps.blobs.delete(container, name)
            yield
