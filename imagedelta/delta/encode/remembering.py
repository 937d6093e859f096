"""What a build has read is remembered for its verification, which reads the same old bytes again.

Reads of stored layers are requests that take time and money; a bounded part of them is kept in memory.
"""

from __future__ import annotations

import threading
from bisect import bisect_right

from imagedelta.delta.content import ImageContent, LayerContent, LayerReader
from imagedelta.limits import MIB

DEFAULT_BYTES = 64 * MIB


class Memory:
    """Wraps the readers of images; counts what is really read, and keeps the first bytes of it."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        """Args:
        limit: Bytes that are kept, of all layers together.
        """
        self._lock = threading.Lock()
        self._room = limit
        self._readers: dict[str, _Reader] = {}
        self.bytes_read = 0

    def image(self, image: ImageContent) -> ImageContent:
        """Return the image with remembering readers; a layer that images share is remembered once."""
        return ImageContent(image.image_id, image.config, tuple(map(self._layer, image.layers)))

    def _layer(self, layer: LayerContent) -> LayerContent:
        reader = self._readers.setdefault(layer.index.diff_id, _Reader(layer.reader, self))
        return LayerContent(layer.index, reader)

    def take_room(self, size: int) -> bool:
        """Count a read, and say whether its bytes may be kept."""
        with self._lock:
            self.bytes_read += size
            keep = size <= self._room
            self._room -= size if keep else 0
            return keep


class _Reader:
    def __init__(self, reader: LayerReader, memory: Memory) -> None:
        self._reader = reader
        self._memory = memory
        self._lock = threading.Lock()
        self._starts: list[int] = []
        self._blocks: list[bytes] = []
        self.size = reader.size

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``."""
        known = self._known(offset, length)
        if known is not None:
            return known
        data = self._reader.read_at(offset, length)
        if self._memory.take_room(length):
            with self._lock:
                place = bisect_right(self._starts, offset)
                self._starts.insert(place, offset)
                self._blocks.insert(place, data)
        return data

    def _known(self, offset: int, length: int) -> bytes | None:
        """Return the bytes out of the block that begins last before them, if it reaches so far."""
        with self._lock:
            place = bisect_right(self._starts, offset) - 1
            if place < 0:
                return None
            at = offset - self._starts[place]
            block = self._blocks[place]
        return block[at : at + length] if at + length <= len(block) else None
