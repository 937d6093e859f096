"""The next step of building a patch: all of it where it is small, else one part (docs/adr/0019).

A step runs for about a minute, within the memory and the temporary disk of the smallest instance. What is known of a
build lies in SQL (who builds it, how often in vain, why) and in blob scratch (what is made so far), so that any worker
goes on where another died.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from activities.build_heartbeat import Heartbeat, Stopped
from activities.build_parts import PartsBuild
from activities.build_scratch import BuildScratch, DamagedScratch
from activities.build_whole import Built, build_whole
from activities.failures import final_failure
from activities.stored_images import StoredImages
from contracts.records import Patch
from imagedelta.delta.encode.build import Build
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.format.profiles import profile_named
from imagedelta.errors import DependencyError, ImageDeltaError
from imagedelta.limits import MIB
from services.deps import Deps
from services.watching.metrics import BUILD_SECONDS, PATCH_BYTES

_WHOLE_BYTES = 128 * MIB
"""Of files that are compared or carried: so much is built in one step, of at most two minutes of a core."""
_STEP_SECONDS = 60
"""After so long a step begins nothing more."""
_DIED = "its process died at every try, or what it had kept was damaged"
_ONE_AT_A_TIME = threading.Lock()
"""Builds of this process, whatever host.json allows: two would not fit the memory of the smallest instance."""


def build_step(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"patchId", "worker"}`` -> ``{"state": …}``.

    ``worker`` is the orchestration that asks: the same one asked again takes its own lease over, so that a process
    that died while building is not waited for.

    ``more``: to be called again. ``verified``. ``failed`` and ``put_off`` (until later) with code and detail.
    ``left``: another worker has it, it failed, it is not due, or nobody waits for it.
    """
    with _ONE_AT_A_TIME:
        return _Step(deps, payload["patchId"], payload["worker"]).run()


class _Step:
    def __init__(self, deps: Deps, patch_id: str, worker: str) -> None:
        self._deps = deps
        self._patches = deps.store.patches
        self._patch_id = patch_id
        self._worker = worker
        self._started = time.monotonic()
        self._memory = Memory()
        self._again = "put_off"
        """Where this step fails; the first time it is tried again at once."""
        self._scratch: BuildScratch | None = None
        """Of a build in parts."""

    def run(self) -> dict[str, Any]:
        deps, lease = self._deps, self._deps.settings.patch_lease
        patch = self._patches.begin_step(self._patch_id, self._worker, lease, deps.now())
        if patch is None:
            return self._left()
        if patch.tries > deps.settings.max_build_tries:
            return self._failed(patch.code or "build.died", patch.detail or _DIED)
        self._again = "more" if patch.tries == 1 else "put_off"
        try:
            with Heartbeat(partial(self._keep, lease), lease.total_seconds()) as heartbeat:
                built = self._build(patch, heartbeat)
        except Stopped:
            return self._left()
        except DamagedScratch:
            return {"state": "more"}
        except Exception as error:
            return self._in_vain(error)
        return self._done(built)

    def _keep(self, lease: timedelta) -> bool:
        return self._patches.keep(self._patch_id, self._worker, lease, self._deps.now())

    # ------------------------------------------------------------ the work

    def _build(self, patch: Patch, heartbeat: Heartbeat) -> Built | None:
        stored = StoredImages(self._deps)
        with tempfile.TemporaryDirectory(prefix="imagedelta-") as scratch:
            folder = Path(scratch)
            target = self._memory.image(stored.open(patch.target))
            sources = [self._memory.image(stored.open(image_id)) for image_id in patch.sources]
            build = Build(target, sources, profile_named(patch.profile), folder)
            if build.work_bytes <= _WHOLE_BYTES:
                blobs = self._deps.blobs
                return build_whole(build, target, sources, blobs, folder, lambda *_: heartbeat.check())
            self._scratch = BuildScratch(self._deps.blobs, self._patch_id)
            return PartsBuild(build, self._scratch, folder, partial(self._go_on, heartbeat)).step(target, sources)

    def _go_on(self, heartbeat: Heartbeat) -> bool:
        heartbeat.check()
        return time.monotonic() - self._started < _STEP_SECONDS

    # ------------------------------------------------------------ what came of it

    def _done(self, built: Built | None) -> dict[str, Any]:
        read, seconds, now = self._memory.bytes_read, time.monotonic() - self._started, self._deps.now()
        if built is None:
            going_on = self._patches.end_step(self._patch_id, self._worker, bytes_read=read, seconds=seconds, at=now)
            return {"state": "more" if going_on else "left"}
        mine = self._patches.verified(
            self._patch_id,
            self._worker,
            size=built.size,
            sha256=built.sha256,
            crc32=built.crc32,
            chunks=built.chunks,
            memory_bytes=built.memory_bytes,
            bytes_read=read,
            seconds=seconds,
            at=now,
        )
        if self._scratch:
            self._clear(self._scratch)
        if mine:
            self._tell("verified")
            self._deps.telemetry.record(PATCH_BYTES, built.size)
        return {"state": "verified" if mine else "left"}

    def _in_vain(self, error: Exception) -> dict[str, Any]:
        try:
            code, detail = final_failure(error)
        except DependencyError as later:
            code, detail, now = later.code, str(later), self._deps.now()
            most = self._deps.settings.max_build_tries
            state = self._patches.put_off(self._patch_id, self._worker, code, detail, most, now)
            said = {"requested": self._again, None: "left"}.get(state, state)
            return {"state": said, "code": code, "detail": detail}
        return self._failed(code, detail)

    def _failed(self, code: str, detail: str) -> dict[str, Any]:
        if not self._patches.failed(self._patch_id, self._worker, code, detail, self._deps.now()):
            return {"state": "left"}
        self._clear(self._scratch)
        self._tell("failed")
        return {"state": "failed", "code": code, "detail": detail}

    def _tell(self, result: str) -> None:
        """Of the whole build: the steps before this one are in SQL."""
        patch = self._patches.patch(self._patch_id)
        self._deps.telemetry.record(BUILD_SECONDS, (patch.seconds or 0.0) if patch else 0.0, result=result)

    def _left(self) -> dict[str, Any]:
        if self._patches.abandon(self._patch_id, self._worker, self._deps.now()):
            self._clear(self._scratch)
        patch = self._patches.patch(self._patch_id)
        return {"state": "verified" if patch and patch.state == "verified" else "left"}

    def _clear(self, scratch: BuildScratch | None) -> None:
        """What cannot be deleted now goes when it is old (activities.purge)."""
        with suppress(ImageDeltaError):
            (scratch or BuildScratch(self._deps.blobs, self._patch_id)).remove()
