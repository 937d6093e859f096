"""Proof that a patch makes its image, given before it is published: a coder bug is never found at sea.

The device's own reader runs every item. What it makes is compared with the target's index: each file with its
digest, everything else byte by byte, so that the target's data need not be read once more, and a layer whose
stored bytes were damaged is found, too. Only a file that is copied whole from a source is not made: the indexes
say that both have one digest, and headers of sources are taken from their indexes, not by a request for each. So the
cost follows the change, as that of building does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import BinaryIO

from imagedelta.delta.content import ImageContent, LayerContent
from imagedelta.delta.decode.apply import AppliedImage
from imagedelta.delta.decode.opening import DEFAULT_MEMORY_LIMIT, open_patch, temporary_file
from imagedelta.delta.decode.scratch import Scratch
from imagedelta.delta.format.items import Item, Way
from imagedelta.delta.format.references import Member
from imagedelta.errors import DigestMismatch
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.signatures.index import FileEntry


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
    readers = {diff_id: layer.headers for diff_id, layer in known.items()}
    configs = {source.image_id: source.config for source in sources}
    opened = open_patch(patch, readers.__getitem__, configs.__getitem__, limits, memory_limit)
    header = opened.header
    found = (header.target_image_id, opened.config, opened.names.target, [layer.size for layer in header.layers])
    if found != (target.image_id, target.config, target.diff_ids, [layer.index.size for layer in target.layers]):
        raise DigestMismatch(f"the patch makes {header.target_image_id} instead of {target.image_id}")
    layers = {layer.index.diff_id: layer for layer in target.layers}
    contents = _Contents([known[diff_id] for diff_id in opened.names.sources])
    with Scratch(temporary_file, header.scratch_bytes) as files:
        maker = opened.layer_maker(files)
        if not header.rebuilt:
            maker.finish()
        for number, layer in enumerate(header.rebuilt, 1):
            make = maker.make_last if number == len(header.rebuilt) else maker.make
            comparison = _Comparison(layers[layer.diff_id], contents)
            make(layer.size, comparison)
            comparison.finish()
    return AppliedImage(target.image_id, opened.config, target.diff_ids)


class _Contents:
    """The files of the source layers, by where they are."""

    def __init__(self, layers: Sequence[LayerContent]) -> None:
        self._layers = layers
        self._entries: dict[int, dict[int, FileEntry]] = {}

    def entry(self, member: Member) -> FileEntry | None:
        """Return the file that is the data of a member."""
        if member.layer not in self._entries:
            entries = self._layers[member.layer].index.entries
            self._entries[member.layer] = {entry.offset: entry for entry in entries if entry.size}
        entry = self._entries[member.layer].get(member.offset)
        return entry if entry and entry.size == member.size else None


class _Comparison:
    """Takes the bytes of a layer and compares each with the target's index."""

    def __init__(self, layer: LayerContent, sources: _Contents) -> None:
        self._layer = layer
        self._sources = sources
        self._position = 0
        self._entries = iter([entry for entry in layer.index.entries if entry.size])
        self._next_file()

    def write(self, data: bytes) -> None:
        """Compare the next bytes.

        Raises:
            DigestMismatch: The target has others there.
        """
        rest = memoryview(data)
        while rest:
            taken = self._file(rest) if self._in_file else self._structure(rest)
            self._position += taken
            rest = rest[taken:]

    def takes_unread(self, member: Member, item: Item) -> bool:
        """Whether the target's next file is this member, by the digests of both indexes."""
        entry, source = self._entry, self._sources.entry(member)
        if entry is None or source is None or (entry.offset, entry.size) != (self._position, item.length):
            return False
        if item.way is Way.STAMPED:
            same = bool(entry.timeless) and (entry.timeless, entry.stamp) == (source.timeless, item.stamp)
        else:
            same = entry.digest == source.digest
        if same:
            self._position += item.length
            self._next_file()
        return same

    def finish(self) -> None:
        """Check that the layer is complete.

        Raises:
            DigestMismatch: The target's layer has another size.
        """
        if self._position != self._layer.index.size:
            raise DigestMismatch(
                f"the patch makes {self._position} bytes of the {self._layer.index.size} of {self._layer.index.diff_id}"
            )

    @property
    def _in_file(self) -> bool:
        return self._entry is not None and self._position >= self._entry.offset

    def _structure(self, data: memoryview) -> int:
        end = self._entry.offset if self._entry else self._layer.index.size
        size = min(len(data), end - self._position)
        if not size:
            raise DigestMismatch(f"the patch makes a longer layer than {self._layer.index.diff_id}")
        if self._layer.headers.read_at(self._position, size) != data[:size]:
            raise DigestMismatch(
                f"the patch makes other bytes than {self._layer.index.diff_id} has from {self._position} on"
            )
        return size

    def _file(self, data: memoryview) -> int:
        entry = self._entry
        assert entry is not None  # noqa: S101 - _in_file
        size = min(len(data), entry.offset + entry.size - self._position)
        self._sha256.update(data[:size])
        if self._position + size == entry.offset + entry.size:
            if self._sha256.digest() != entry.digest:
                name = entry.path.decode("utf-8", "replace")
                raise DigestMismatch(f"the patch makes other bytes of {name} in {self._layer.index.diff_id}")
            self._next_file()
        return size

    def _next_file(self) -> None:
        self._entry = next(self._entries, None)
        self._sha256 = hashlib.sha256()
