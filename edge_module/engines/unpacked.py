"""Source layers that are kept packed, unpacked once each while an apply runs: patches read them at random.

Shared by all engines. A layer goes to the scratch folder, is held against its diff_id on the way, and stays until the
session ends. Whatever is wrong with it is a fault of the source, never of the bundle that starts from it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Self

import zstandard

from edge_module.engines.port_reader import PortReader
from edge_module.files import Files
from edge_module.scratch_file import SCRATCH
from imagedelta.archives.layer_stream import verified_stream
from imagedelta.archives.model import hex_of
from imagedelta.archives.unpacking import packing_of, unpack
from imagedelta.delta.content import LayerReader
from imagedelta.errors import ContentError, DependencyError, LimitExceeded, SourceMissing, UnsupportedFormat
from imagedelta.limits import DEFAULT_LIMITS, MIB, Limits

DEVICE_LIMITS = replace(DEFAULT_LIMITS, max_window_bytes=64 * MIB)
"""Other tools' packed layers are unpacked within the memory of a small device: builders use windows up to 8 MiB."""
HINT_BYTES = 64
"""Of a packed layer's first bytes that ``unpacked_size`` looks at."""
_GUESS = 4
"""A packed layer unpacks to about this many times its size."""
_MOST_DEFLATED = 1032


class UnpackedLayers:
    """The unpacked source layers of one session; a context manager."""

    def __init__(self, files: Files, limits: Limits = DEVICE_LIMITS) -> None:
        self._files = files
        self._limits = limits
        self._readers: dict[str, PortReader] = {}
        self._names: list[str] = []

    def reader(self, diff_id: str, size_hint: int, open_packed: Callable[[], BinaryIO]) -> LayerReader:
        """The layer, uncompressed.

        Args:
            size_hint: What it probably unpacks to; see ``unpacked_size``.
            open_packed: Opens the packed layer, to be read once from its first byte; it is closed here.

        Raises:
            SourceMissing: ``source.different``: it does not unpack to the layer; ``source.missing``: it cannot be
                unpacked on this device.
            DependencyError: ``disk.full``, before anything is written if the hint says so.
        """
        if diff_id not in self._readers:
            self._check_room(diff_id, size_hint)
            self._readers[diff_id] = PortReader(self._files, self._unpack(diff_id, open_packed))
        return self._readers[diff_id]

    def close(self) -> None:
        while self._readers:
            self._readers.popitem()[1].close()
        while self._names:
            self._files.remove(self._names.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_room(self, diff_id: str, size_hint: int) -> None:
        free = self._files.free_bytes()
        if size_hint > free:
            raise DependencyError(
                f"source layer {diff_id} unpacks to about {size_hint} bytes, {free} are free", code="disk.full"
            )

    def _unpack(self, diff_id: str, open_packed: Callable[[], BinaryIO]) -> str:
        """Not synced: it is worth nothing after a restart, when the scratch folder is emptied."""
        name = f"{SCRATCH}/{hex_of(diff_id)}.tar"
        writer = self._files.create(name)
        try:
            with (
                closing(open_packed()) as packed,
                verified_stream(unpack(packed, self._limits), diff_id, lambda: None) as layer,
            ):
                while piece := layer.read(MIB):
                    writer.write(piece)
        except Exception as error:
            self._files.remove(name)
            if isinstance(error, LimitExceeded | UnsupportedFormat):
                raise SourceMissing(f"source layer {diff_id} cannot be unpacked here: {error}") from error
            if isinstance(error, ContentError):
                raise SourceMissing(f"source layer {diff_id} is damaged: {error}", code="source.different") from error
            raise
        finally:
            writer.close()
        self._names.append(name)
        return name


def unpacked_size(head: bytes, tail: bytes, packed_bytes: int) -> int:
    """About how many bytes a packed layer unpacks to: a hint, to look at the disk beforehand; never believed further.

    gzip notes the size of its last member, and only its low 32 bits; zstd may note that of its first frame.

    Args:
        head: At least the first ``HINT_BYTES`` of it.
        tail: At least its last 4 bytes.
        packed_bytes: Its size.
    """
    noted = _noted_size(head, tail)
    return noted if packed_bytes <= noted <= _MOST_DEFLATED * packed_bytes else _GUESS * packed_bytes


def _noted_size(head: bytes, tail: bytes) -> int:
    packing = packing_of(head)
    if packing == "gzip":
        return int.from_bytes(tail[-4:], "little")
    if packing == "zstd":
        try:
            return zstandard.frame_content_size(head[:HINT_BYTES])
        except zstandard.ZstdError:
            return 0
    return 0
