"""Names of what a program takes from others, put where its code looks for them, for the search in masked files.

Each jump of a linkage table looks like the next one once its operand is masked. Where a new version needs one more of
them, a search would take each for its neighbour, and every call through them would be predicted wrong.

Source: System V ABI, chapter 4, and its supplements for AMD64 and AArch64 (procedure linkage table).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from zlib import crc32

from imagedelta.delta.content import Extent
from imagedelta.delta.predict.aarch64 import paged_address
from imagedelta.delta.predict.elf_sections import Sections
from imagedelta.delta.predict.image import Image

_RELOCATION = struct.Struct("<QIIQ")
_SYMBOL_BYTES, _NAME_AT_MOST = 24, 512
_RELOCATION_TABLE, _SYMBOLS_OF = 4, 6
_SYMBOL_AT = 12
"""Where a relocation says which symbol it is of."""
_TABLE_BYTES = 4096 * _RELOCATION.size
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_S32 = struct.Struct("<i")
_TWO_WORDS = struct.Struct("<II")
_THROUGH_SLOT = re.compile(rb"(?:\xff[\x15\x25]|[\x48\x4c]\x8b[\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(?=(?s:....))")
"""x86-64: calls, jumps and loads whose operand is where a slot is."""
_NUMBER = re.compile(rb"\x68(?s:....)\xf2?\xe9")
"""x86-64: behind a jump through a slot, the number of its relocation."""
_STUB = re.compile(rb"(?s:[\x10\x30\x50\x70\x90\xb0\xd0\xf0]..[\x90\xb0\xd0\xf0])(?=\x11(?s:.)[\x40-\x7f]\xf9)")
"""aarch64: a page into register 16, and from there a slot into register 17, as a linkage table has them."""


class Slots:
    """Where the addresses of what has a name are put when a program is loaded."""

    def __init__(self, file: Extent, start: bytes, image: Image) -> None:
        """Args:
        start: First bytes of ``file``, which has the segments ``image``.
        """
        self._file, self._image = file, image
        is_elf = start.startswith(b"\x7fELF")
        self._relocations = list(_named_relocations(file, start)) if is_elf else []
        self._names = {address: name for _, address, name in self._relocations}

    def named_in_code(self, masked: bytearray, start: int) -> None:
        """Put hashes of names where code and relocations refer to them.

        Args:
            masked: What is searched instead of the bytes of the file from ``start`` on.
        """
        if not self._names:
            return
        for place, _, name in self._relocations:
            _put(masked, _U32, place + _SYMBOL_AT - start, name)
        for segment in self._image.segments:
            first = max(start, segment.offset)
            last = min(start + len(masked), segment.offset + segment.size)
            if segment.executable and first < last:
                code = self._file.read_at(first, last - first)
                for at, address in _through_slots(code, segment.address + first - segment.offset):
                    if address in self._names:
                        _put(masked, _U32, first + at - start, self._names[address])
                for found in _NUMBER.finditer(code):
                    _put(masked, _U32, first + found.start() + 1 - start, 0)

    def named(self, masked: bytearray, start: int) -> None:
        """Put hashes of names into the slots themselves."""
        for address, name in self._names.items():
            place = self._image.offset_of(address)
            if place is not None:
                _put(masked, _U64, place - start, name)


def _put(out: bytearray, form: struct.Struct, at: int, value: int) -> None:
    if 0 <= at <= len(out) - form.size:
        form.pack_into(out, at, value)


def _named_relocations(file: Extent, start: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each relocation of a name is, the address of its slot and a hash of the name."""
    sections = Sections(file.read_at, file.size, start).all
    for header in sections:
        at, size, symbols_number = header[4], header[5], header[6]
        if header[1] != _RELOCATION_TABLE or symbols_number >= len(sections) or at + size > file.size:
            continue
        symbols = sections[symbols_number]
        names_at = sections[symbols[6]][4] if symbols[6] < len(sections) else file.size
        found = list(_relocations(file, at, size))
        names = _names(file, symbols[4], {symbol for _, _, symbol in found}, names_at)
        for place, address, symbol in found:
            yield place, address, names[symbol]


def _relocations(file: Extent, at: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield where each relocation of a table is that has a symbol, the address of its slot and the symbol's number."""
    for first in range(at, at + size, _TABLE_BYTES):
        data = file.read_at(first, min(_TABLE_BYTES, (at + size - first) // _RELOCATION.size * _RELOCATION.size))
        for number, (address, _, symbol, _) in enumerate(_RELOCATION.iter_unpack(data)):
            if symbol:
                yield first + number * _RELOCATION.size, address, symbol


def _names(file: Extent, symbols_at: int, symbols: set[int], names_at: int) -> dict[int, int]:
    """Return hashes of the names of symbols; of nothing where there is none.

    They are read in the order of the file: names lie in any, and a large file is read in blocks.
    """
    places: dict[int, int] = {}
    for symbol in sorted(symbols):
        entry = symbols_at + symbol * _SYMBOL_BYTES
        is_inside = entry + _SYMBOL_BYTES <= file.size
        places[symbol] = names_at + _U32.unpack(file.read_at(entry, _U32.size))[0] if is_inside else file.size
    hashes = {at: _name(file, at) for at in sorted(set(places.values()))}
    return {symbol: hashes[at] for symbol, at in places.items()}


def _name(file: Extent, at: int) -> int:
    text = file.read_at(at, min(_NAME_AT_MOST, file.size - at)) if at < file.size else b""
    return crc32(text.partition(b"\0")[0])


def _through_slots(code: bytes, address: int) -> Iterator[tuple[int, int]]:
    """Yield where operands may be that name a slot, and the slot's address."""
    for found in _THROUGH_SLOT.finditer(code):
        at = found.end()
        yield at, address + at + 4 + _S32.unpack_from(code, at)[0]
    for found in _STUB.finditer(code):
        at = found.start()
        page, load = _TWO_WORDS.unpack_from(code, at)
        yield at, paged_address(page, load, address + at)
