"""The image of one verified bundle: checked, rebuilt from what is here, and named.

Order of durable steps, so that power loss between any two leaves old images usable and the new one complete or absent:
layers, config and manifest; then the index, where image and name appear at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from contracts.messages import DesiredProperties
from edge_module.engines import Engine, PresentImage
from edge_module.files import Files
from edge_module.refused import RefusedFiles
from edge_module.scratch_file import SCRATCH, open_scratch
from imagedelta.bundles import BundleHead, OpenedBundle
from imagedelta.delta.decode.apply import apply_patch
from imagedelta.delta.format.header import PatchHeader
from imagedelta.delta.format.source_images import name_layers
from imagedelta.errors import DependencyError

_SCRATCH_FILE = f"{SCRATCH}/apply-"


class Rebuilder:
    def __init__(
        self, files: Files, engine: Engine, refused: RefusedFiles, memory_bytes: int, reserve_bytes: int
    ) -> None:
        """Args:
        memory_bytes: The most a rebuild may need, whatever the cloud says.
        reserve_bytes: Disk that stays free.
        """
        self._files = files
        self._engine = engine
        self._refused = refused
        self._memory_bytes = memory_bytes
        self._reserve_bytes = reserve_bytes

    def rebuild(
        self,
        bundle: OpenedBundle,
        desired: DesiredProperties,
        *,
        verify: bool,
        begin: Callable[[], None],
        name_of: Callable[[BundleHead], str],
    ) -> PresentImage:
        """Return the image, whole and durable.

        Args:
            verify: The patch's sealed digest has not been held against its bytes in this run yet.
            begin: Called when everything is found fit, before the first byte is written.
            name_of: Which ``name:tag`` the image may have; "" for none.

        Raises:
            SourceMissing: A layer the patch starts from is not here, or damaged.
            ContentError: The patch is not what its head says.
            DependencyError: The disk is full or failing.
        """
        if verify:
            bundle.verify_patch_digest()
        header = bundle.read_patch_head()
        with self._engine.open_sources() as sources:
            diff_ids = name_layers(header, sources.config).target
        self._check_disk(header, diff_ids)
        begin()
        # A layer that is here is not made again, so its bytes are checked instead.
        self._engine.drop_damaged(set(diff_ids))
        scratch_files = count()
        with self._engine.open_sources() as sources:
            image = apply_patch(
                bundle.patch,
                sources.find,
                sources.config,
                self._engine,
                memory_limit=min(self._memory_bytes, desired.memory_bytes),
                scratch=lambda: open_scratch(self._files, f"{_SCRATCH_FILE}{next(scratch_files)}"),
            )
        return self._engine.add_image(image.config, image.diff_ids, name_of(bundle.head))

    def lost_sources(self, head: BundleHead) -> list[str]:
        """Which sources of ``head`` are not whole here; damaged layers are forgotten, so no inventory names them."""
        layers = {image.image_id: image.diff_ids for image in self._engine.images()}
        for source in head.source_image_ids:
            self._engine.drop_damaged(layers.get(source, ()))
        whole = {image.image_id for image in self._engine.images()}
        return [source for source in head.source_image_ids if source not in whole]

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
