"""Build one patch, prove it with the device's own reader, and keep it under its sha256."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from activities.failures import final_failure
from activities.stored_images import StoredImages
from contracts.records import Patch
from imagedelta.archives import sha256_id
from imagedelta.bundles import chunk_list
from imagedelta.delta.encode import PatchSummary, build_verified_patch
from imagedelta.delta.format.profiles import profile_named
from services.deps import Deps

_PIECE = 1 << 20


def build_patch(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"patchId", "worker"}`` -> ``{"built": bool}``; False when another worker has it or it is built.

    ``worker`` is the orchestration that asks: the same one asked again takes its own lease over, so that a
    process that died while building is not waited for.
    """
    patch_id, worker = payload["patchId"], payload["worker"]
    patch = deps.store.patches.claim(patch_id, worker, deps.settings.patch_lease, deps.now())
    if patch is None:
        return {"built": False}
    try:
        _build(deps, patch, worker)
    except Exception as error:
        code, detail = final_failure(error)
        if deps.store.patches.failed(patch_id, worker, code, detail, deps.now()):
            deps.store.transfers.fail_of_patch(patch_id, code, detail, deps.now())
        return {"built": False, "code": code, "detail": detail}
    return {"built": True}


def _build(deps: Deps, patch: Patch, worker: str) -> None:
    started = time.monotonic()
    with ExitStack() as exits:
        scratch = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="imagedelta-")))
        stored = StoredImages(deps)
        target = stored.open(patch.target)
        sources = [stored.open(image_id) for image_id in patch.sources]
        out = exits.enter_context((scratch / "patch").open("w+b"))
        summary = build_verified_patch(target, sources, out, profile=profile_named(patch.profile), scratch=scratch)
        chunks = _publish(deps, out, summary)
    deps.store.patches.verified(
        patch.patch_id,
        worker,
        blob=summary.sha256,
        size=summary.bytes,
        sha256=summary.sha256,
        crc32=summary.crc32,
        chunks=chunks,
        memory_bytes=summary.memory_bytes,
        bytes_read=summary.bytes_read,
        seconds=time.monotonic() - started,
        at=deps.now(),
    )


def _publish(deps: Deps, patch: BinaryIO, summary: PatchSummary) -> str:
    """Store the patch and, beside it, its chunk list; returns the digest of the list."""
    patch.seek(0)
    chunks = chunk_list(patch)
    deps.blobs.put_if_absent("patches", f"{summary.sha256}.chunks", [chunks])
    patch.seek(0)
    deps.blobs.put_if_absent("patches", summary.sha256, _pieces(patch))
    return sha256_id(chunks)


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece
