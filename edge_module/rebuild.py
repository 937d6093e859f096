"""Rebuilding in this process: the image of one verified bundle is made from what is here.

Order of durable steps, so that power loss between any two leaves old images usable and the new one complete or absent:
layers, config and manifest; then the index, where the image appears.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from edge_module.engines import Engine, PresentImage
from edge_module.files import Files
from edge_module.rebuilds import RebuildTask
from edge_module.refused import RefusedFiles
from edge_module.scratch_file import SCRATCH, open_scratch
from imagedelta.bundles import OpenedBundle, read_bundle
from imagedelta.delta.decode.apply import apply_patch
from imagedelta.delta.format.header import PatchHeader
from imagedelta.delta.format.source_images import name_layers
from imagedelta.errors import DependencyError

_SCRATCH_FILE = f"{SCRATCH}/apply-"


class Rebuilder:
    def __init__(self, files: Files, engine: Engine, refused: RefusedFiles, reserve_bytes: int) -> None:
        """Args:
        reserve_bytes: Disk that stays free.
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
            return self._rebuild(bundle, task.memory_bytes, begun)

    def stop(self) -> None:
        """It ends with its process."""

    def _rebuild(self, bundle: OpenedBundle, memory_bytes: int, begun: Callable[[], None]) -> PresentImage:
        header = bundle.read_patch_head()
        with self._engine.open_sources() as sources:
            diff_ids = name_layers(header, sources.config).target
        self._check_disk(header, diff_ids)
        begun()
        # A layer that is here is not made again, so its bytes are checked instead.
        self._engine.drop_damaged(set(diff_ids))
        scratch_files = count()
        with self._engine.open_sources() as sources:
            image = apply_patch(
                bundle.patch,
                sources.find,
                sources.config,
                self._engine,
                memory_limit=memory_bytes,
                scratch=lambda: open_scratch(self._files, f"{_SCRATCH_FILE}{next(scratch_files)}"),
            )
        return self._engine.add_image(image.config, image.diff_ids, "")

    def _check_disk(self, header: PatchHeader, diff_ids: Sequence[str]) -> None:
        """Raises: DependencyError ``disk.full`` before anything is written."""
        sizes = {diff_id: layer.size for diff_id, layer in zip(diff_ids, header.layers, strict=True)}
        needed = (
            sum(size for diff_id, size in sizes.items() if not self._engine.has_layer(diff_id))
            + header.config_bytes
            + header.scratch_bytes
            + self._reserve_bytes
        )
        needed += self._engine.extra_bytes(header.source_image_ids)
        free = self._refused.make_room(needed, self._engine.free_bytes)
        if free < needed:
            raise DependencyError(f"{needed} bytes of disk needed, {free} are free", code="disk.full")
