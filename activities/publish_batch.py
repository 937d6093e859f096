"""Publish one patch to a batch of the devices that wait for it: numbers first, then the blobs, then the mark."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from activities.bundle_blobs import BundleBlobs, PatchLost
from activities.failures import final_failure
from activities.patch_access import lose_patch
from contracts.records import Publication
from imagedelta.errors import ImageDeltaError
from services.deps import Deps
from services.store_port import BundleResult

BATCH = 50
SECONDS = 60.0
"""After so long a batch ends with what it has: bundles of gigabytes take the storage a while."""


def publish_batch(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"patchId", "after": transfer}`` -> ``{"published": int, "after": transfer or None}``; None at the end.

    Number and name are given once for each attempt and a blob that is there is never replaced, so it may run
    twice, also at the same time. What is done is marked even when the storage fails before the rest is. A patch that
    is gone from the storage is built anew, and this ends.
    """
    patch_id, publications = payload["patchId"], deps.store.publications
    claimed = publications.claim(patch_id, payload["after"], BATCH, shared=deps.settings.shared_bundles, at=deps.now())
    results, trouble = _write_all(deps, claimed)
    more = len(claimed) == BATCH or len(results) < len(claimed)
    published = publications.finish(patch_id, results, deps.now(), last=not more)
    if isinstance(trouble, PatchLost):
        lose_patch(deps, trouble.sha256)
        return {"published": published, "after": None}
    if trouble is not None:
        raise trouble
    return {"published": published, "after": results[-1].transfer.transfer_id if more else None}


def _write_all(
    deps: Deps, claimed: Iterable[Publication]
) -> tuple[list[BundleResult], ImageDeltaError | PatchLost | None]:
    """What became of them, and the trouble that ended it early, if any."""
    blobs = BundleBlobs(deps)
    results: list[BundleResult] = []
    until = time.monotonic() + SECONDS
    for publication in claimed:
        try:
            results.append(_write(blobs, publication))
        except (ImageDeltaError, PatchLost) as error:
            return results, error
        if time.monotonic() > until:
            break
    return results, None


def _write(blobs: BundleBlobs, publication: Publication) -> BundleResult:
    """Raises: ImageDeltaError when trying again can help; PatchLost."""
    try:
        return BundleResult(publication.transfer, blobs.write(publication))
    except PatchLost:
        raise
    except Exception as error:
        code, detail = final_failure(error)
        return BundleResult(publication.transfer, code=code, detail=detail)
