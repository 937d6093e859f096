"""Proof that a patch makes its image, given before it is published: a coder bug is never found at sea.

The device's own reader runs every step, and what it makes is compared with the target byte by byte, and each
file with the digest in the index, so that a layer whose stored bytes were damaged is found here, too. Only a
file that is copied whole from a source is not read: the indexes say that both have one digest. So the cost
follows the change, as that of building does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import BinaryIO

from imagedelta.delta.apply import AppliedImage
from imagedelta.delta.content import ImageContent, LayerContent, LayerReader
from imagedelta.delta.layer_cursor import ReadAhead
from imagedelta.delta.layer_maker import Kept, LayerMaker
from imagedelta.delta.opening import DEFAULT_MEMORY_LIMIT, open_patch, temporary_file
from imagedelta.errors import DigestMismatch
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.signatures.index import LayerIndex


def verify_patch(
    patch: BinaryIO,
    target: ImageContent,
    sources: Sequence[ImageContent],
    *,
    limits: Limits = DEFAULT_LIMITS,
    memory_limit: int = DEFAULT_MEMORY_LIMIT,
) -> AppliedImage:
    """Run the patch with the device's own reader and compare what it makes with ``target``.

    Args:
        patch: Seekable, on its first byte.

    Raises:
        ContentError: The patch does not make the image; it must not be published.
    """
    known: dict[str, LayerContent] = {layer.index.diff_id: layer for source in sources for layer in source.layers}
    opened = open_patch(patch, {key: layer.reader for key, layer in known.items()}.__getitem__, limits, memory_limit)
    header = opened.header
    found = (header.target_image_id, opened.config, header.diff_ids)
    if found != (target.image_id, target.config, target.diff_ids):
        raise DigestMismatch(f"the patch makes {header.target_image_id} instead of {target.image_id}")
    layers = {layer.index.diff_id: layer for layer in target.layers}
    contents = _Contents([known[diff_id] for diff_id in header.source_layers if diff_id in known])
    with temporary_file() as kept_file:
        maker = LayerMaker(opened.tapes, opened.sources.reader, Kept(kept_file, header.scratch_bytes))
        for number, layer in enumerate(header.rebuilt, 1):
            make = maker.make_last if number == len(header.rebuilt) else maker.make
            comparison = _Comparison(layers[layer.diff_id], header.source_layers, contents)
            make(layer.size, comparison)
            comparison.check_size(layer.size)
    return AppliedImage(target.image_id, opened.config, header.diff_ids)


class _Contents:
    """Digests of the files of layers, by where they are."""

    def __init__(self, layers: Sequence[LayerContent]) -> None:
        self._digests = {
            (layer.index.diff_id, entry.offset, entry.size): entry.digest
            for layer in layers
            for entry in layer.index.entries
            if entry.size
        }

    def digest(self, diff_id: str, offset: int, size: int) -> bytes | None:
        """Return the digest of the file that has exactly these bytes, if one has."""
        return self._digests.get((diff_id, offset, size))


class _Comparison:
    """Takes the bytes of a layer and holds each against the target's."""

    def __init__(self, layer: LayerContent, source_layers: Sequence[str], sources: _Contents) -> None:
        self._diff_id = layer.index.diff_id
        self._reader: LayerReader = ReadAhead(layer.reader)
        self._own = _Contents([layer])
        self._files = _Files(layer.index)
        self._source_layers = source_layers
        self._sources = sources
        self._position = 0

    def write(self, data: bytes) -> None:
        """Compare the next bytes.

        Raises:
            DigestMismatch: The target has others there.
        """
        if self._position + len(data) > self._reader.size:
            raise DigestMismatch(f"the patch makes a longer layer than {self._diff_id}")
        if self._reader.read_at(self._position, len(data)) != data:
            raise DigestMismatch(f"the patch makes other bytes than {self._diff_id} has from {self._position} on")
        self._files.take(self._position, data)
        self._position += len(data)

    def takes_unread(self, source_number: int, offset: int, length: int) -> bool:
        """Whether the target's next file and this part of a source are files of one digest."""
        if source_number >= len(self._source_layers):
            return False  # reading will refuse it
        there = self._sources.digest(self._source_layers[source_number], offset, length)
        same = there is not None and there == self._own.digest(self._diff_id, self._position, length)
        if same:
            self._files.skip(self._position + length)
            self._position += length
        return same

    def check_size(self, size: int) -> None:
        """Hold the end of the layer.

        Raises:
            DigestMismatch: The target's layer has another size.
        """
        if not self._position == size == self._reader.size:
            raise DigestMismatch(
                f"the patch makes {self._position} bytes of the {self._reader.size} of {self._diff_id}"
            )


class _Files:
    """Follows the files of a layer and holds their bytes against the digests in its index."""

    def __init__(self, index: LayerIndex) -> None:
        self._diff_id = index.diff_id
        self._entries = iter([entry for entry in index.entries if entry.size])
        self._next()

    def take(self, position: int, data: bytes) -> None:
        """The layer has ``data`` at ``position``, behind all that was taken or skipped before.

        Raises:
            DigestMismatch: A file that ends in them is not what the index says.
        """
        view = memoryview(data)
        while (entry := self._entry) is not None and entry.offset < position + len(view):
            end = entry.offset + entry.size
            self._sha256.update(view[max(entry.offset - position, 0) : end - position])
            if end > position + len(view):
                return
            if self._sha256.digest() != entry.digest:
                name = entry.path.decode("utf-8", "replace")
                raise DigestMismatch(f"the stored bytes of {name} in {self._diff_id} are damaged")
            self._next()

    def skip(self, end: int) -> None:
        """The files before ``end`` were not read."""
        while self._entry is not None and self._entry.offset < end:
            self._next()

    def _next(self) -> None:
        self._entry = next(self._entries, None)
        self._sha256 = hashlib.sha256()
