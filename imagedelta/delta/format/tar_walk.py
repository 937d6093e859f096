"""The header blocks of a source layer, numbered: a patch names headers and file data by these numbers.

Both sides walk a layer by the same fixed rule, so a device needs no index. The walk is no tar reader: pax and
GNU extension headers count like any other, with their bodies as data, and where the walk loses its way in an
odd tar it stops, on both sides at the same block.

Source: docs/formats/patch.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 512
_CHECKSUM = slice(148, 156)
_SIZE = slice(124, 136)
_TYPE = 156
_WITH_DATA = b"0\x007SxgLK"


class ReadsAt(Protocol):
    """What the walk needs of a layer: its headers, by offset."""

    def read_at(self, offset: int, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """One header and the data behind it; offsets are bytes from the start of the tar."""

    offset: int
    size: int
    """Bytes of data, 0 for kinds that have none."""

    @property
    def data_offset(self) -> int:
        """Where the data starts."""
        return self.offset + BLOCK

    @property
    def end(self) -> int:
        """Where the next header is expected: the data's end, rounded up to a block."""
        return self.data_offset + self.size + -self.size % BLOCK


def walk_headers(layer: ReadsAt, layer_size: int) -> Iterator[HeaderBlock]:
    """Yield the headers of a layer, front to back, up to the first block that is none."""
    offset = 0
    while offset + BLOCK <= layer_size:
        block = layer.read_at(offset, BLOCK)
        if not is_header(block):
            return
        header = HeaderBlock(offset, data_size(block))
        if header.data_offset + header.size > layer_size:
            return
        yield header
        offset = header.end


def data_size(block: bytes) -> int:
    """Return how many bytes of data follow a header block: what it states, 0 for links, folders and devices."""
    return _stated_size(block[_SIZE]) if block[_TYPE] in _WITH_DATA else 0


def is_header(block: bytes) -> bool:
    """Whether a block of 512 bytes has the checksum of a header."""
    field = block[_CHECKSUM].split(b"\0", 1)[0].strip(b" ")
    if not field or field.strip(b"01234567"):
        return False
    # The checksum counts its own field as eight spaces.
    return int(field, 8) == sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20


def _stated_size(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[-8:], "big") & 0x7FFFFFFFFFFFFFFF
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits or digits.strip(b"01234567"):
        return 0
    return int(digits, 8)
