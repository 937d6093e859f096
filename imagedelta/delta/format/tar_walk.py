"""The header blocks of a source layer, numbered: a patch names headers and file data by these numbers.

Both sides walk a layer by the same fixed rule, so a device needs no index. The walk is no tar reader: pax and
GNU extension headers count like any other, with their bodies as data, and of what they say only a size counts. Where
the walk loses its way in an odd tar it stops, on both sides at the same block.

Source: docs/formats/patch.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from imagedelta.archives.tar_headers import parse_pax
from imagedelta.octal import octal

BLOCK = 512
_CHECKSUM = slice(148, 156)
_SIZE = slice(124, 136)
_TYPE = 156
_WITHOUT_DATA = b"123456"
"""Links, devices, folders and FIFOs."""
_REGULAR = b"0\x007"
_PAX, _SPARSE = ord("x"), ord("S")
_MORE_IN_HEADER, _MORE_IN_BLOCK = 482, 504
"""Not zero: the map of an old GNU sparse file goes on in the next block."""
_MOST_PAX_BYTES = 4096
_MOST_SIZE_DIGITS = 18


class ReadsAt(Protocol):
    """What the walk needs of a layer: its headers, by offset."""

    def read_at(self, offset: int, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """One header and the data behind it; offsets are bytes from the start of the tar."""

    offset: int
    data_offset: int
    """Where the data starts: behind the header, and the rest of an old GNU sparse file's map."""
    size: int
    """Bytes of data, 0 for kinds that have none."""

    @property
    def end(self) -> int:
        """Where the next header is expected: the data's end, rounded up to a block."""
        return self.data_offset + self.size + -self.size % BLOCK


def walk_headers(layer: ReadsAt, layer_size: int) -> Iterator[HeaderBlock]:
    """Yield the headers of a layer, front to back, up to the first block that is none."""
    offset = 0
    pax_size: int | None = None
    while offset + BLOCK <= layer_size:
        block = layer.read_at(offset, BLOCK)
        if not is_header(block):
            return
        size = data_size(block) if pax_size is None or block[_TYPE] not in _REGULAR else pax_size
        data_offset = _behind_sparse_map(layer, offset, block, layer_size)
        header = HeaderBlock(offset, data_offset, size)
        if data_offset + size > layer_size:
            return
        yield header
        pax_size = _pax_size(layer, header) if block[_TYPE] == _PAX else None
        offset = header.end


def _behind_sparse_map(layer: ReadsAt, offset: int, block: bytes, layer_size: int) -> int:
    """Return where the data of a header starts, past the layer's end where a map is cut off."""
    more = block[_TYPE] == _SPARSE and block[_MORE_IN_HEADER]
    offset += BLOCK
    while more and offset + BLOCK <= layer_size:
        more = layer.read_at(offset, BLOCK)[_MORE_IN_BLOCK]
        offset += BLOCK
    return layer_size + 1 if more else offset


def _pax_size(layer: ReadsAt, header: HeaderBlock) -> int | None:
    """Return the size that a short pax header gives the member behind it."""
    if header.size > _MOST_PAX_BYTES:
        return None
    size = (parse_pax(layer.read_at(header.data_offset, header.size)) or {}).get(b"size", b"")
    return int(size) if size.isdigit() and len(size) <= _MOST_SIZE_DIGITS else None


def data_size(block: bytes) -> int:
    """Return what a header block states as the size of its data, 0 for links, folders and devices."""
    return 0 if block[_TYPE] in _WITHOUT_DATA else _stated_size(block[_SIZE])


def is_header(block: bytes) -> bool:
    """Whether a block of 512 bytes has the checksum of a header."""
    # The checksum counts its own field as eight spaces.
    return _number(block[_CHECKSUM]) == sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20


def _stated_size(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[-8:], "big") & 0x7FFFFFFFFFFFFFFF
    return _number(field) or 0


def _number(field: bytes) -> int | None:
    return octal(field.split(b"\0", 1)[0].strip(b" "))
