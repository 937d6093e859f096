"""Rebuilding in this process: one verified bundle becomes an image, whole under a name of the engine's own.

Order of durable steps, so that power loss between any two leaves old images usable and the new one complete or absent:
layers, config and manifest; then what makes the image visible. Its name comes after that, from whoever called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count

from edge_module.engines import MODULE_DISK, Engine, LayersGone, Need, PresentImage, Work
from edge_module.files import Files
from edge_module.rebuilds import RebuildTask
from edge_module.refused import RefusedFiles
from edge_module.scratch_file import SCRATCH, open_scratch
from imagedelta.bundles import OpenedBundle, read_bundle
from imagedelta.delta.decode.apply import apply_patch
from imagedelta.delta.format.header import PatchHeader
from imagedelta.delta.format.source_images import LayerNames, name_layers
from imagedelta.errors import DependencyError, SourceMissing

_SCRATCH_FILE = f"{SCRATCH}/apply-"
_RESTARTS = 2
"""Times that a rebuild starts again at once when layers vanish under it; then the job waits like any other."""


class Rebuilder:
    def __init__(self, files: Files, engine: Engine, refused: RefusedFiles, reserve_bytes: int) -> None:
        """Args:
        reserve_bytes: Disk that stays free, at each place.
        """
        self._files = files
        self._engine = engine
        self._refused = refused
        self._reserve_bytes = reserve_bytes

    def rebuild(self, task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
        """See ``Rebuilds.rebuild``."""
        with self._files.open(task.bundle) as stream:
            bundle = read_bundle(stream, None)
            if bundle.head != task.head:
                raise DependencyError(f"{task.bundle} has become another bundle", code="bundle.changed")
            return self._rebuild(bundle, task, begun)

    def stop(self) -> None:
        """It ends with its process."""

    def _rebuild(self, bundle: OpenedBundle, task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
        header = bundle.read_patch_head()
        names = self._names(header)
        sizes = {diff_id: layer.size for diff_id, layer in zip(names.target, header.layers, strict=True)}
        self._check_room(header, self._engine.needs(header.target_image_id, sizes, header.source_image_ids))
        begun()
        for _ in range(_RESTARTS):
            with suppress(LayersGone):
                return self._make(bundle, task, names, sizes)
        return self._make(bundle, task, names, sizes)

    def _names(self, header: PatchHeader) -> LayerNames:
        """The sizes of a session's layers are known only when the sources' configs have named them."""
        with self._engine.begin(header.target_image_id, "", {}, header.source_image_ids) as work:
            return name_layers(header, work.config)

    def _make(
        self, bundle: OpenedBundle, task: RebuildTask, names: LayerNames, sizes: Mapping[str, int]
    ) -> PresentImage:
        head = task.head
        bundle.patch.seek(0)
        scratch_files = count()
        with self._engine.begin(head.target_image_id, task.reference, sizes, head.source_image_ids) as work:
            for diff_id in names.sources:
                self._open_source(work, diff_id)
            image = apply_patch(
                bundle.patch,
                work.find,
                work.config,
                work,
                memory_limit=task.memory_bytes,
                scratch=lambda: open_scratch(self._files, f"{_SCRATCH_FILE}{next(scratch_files)}"),
            )
            return work.finish(image.config)

    def _open_source(self, work: Work, diff_id: str) -> None:
        """Packed sources are unpacked before the patch's decoders take their memory."""
        try:
            work.find(diff_id)
        except KeyError:
            raise SourceMissing(f"layer {diff_id} of the source is not here") from None

    def _check_room(self, header: PatchHeader, needs: list[Need]) -> None:
        """Raises: DependencyError ``disk.full`` before anything is written."""
        own = header.scratch_bytes + header.config_bytes
        if all(need.place != MODULE_DISK for need in needs):
            needs = [*needs, Need(MODULE_DISK, 0, self._files.free_bytes())]
        for need in needs:
            needed = need.bytes + self._reserve_bytes + (own if need.place == MODULE_DISK else 0)
            free = need.free
            if need.place == MODULE_DISK:
                free = self._refused.make_room(needed, self._files.free_bytes)
            if free is not None and free < needed:
                raise DependencyError(
                    f"{needed} bytes of disk needed at {need.place}, {free} are free", code="disk.full"
                )
