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

from imagedelta.delta.predict.aarch64 import paged_address
from imagedelta.delta.predict.elf_tables import Sections
from imagedelta.delta.predict.image import Image

_RELOCATION = struct.Struct("<QIIQ")
_SYMBOL_BYTES, _NAME_AT_MOST = 24, 512
_RELOCATION_TABLE, _SYMBOLS_OF = 4, 6
_SYMBOL_AT = 12
"""Where a relocation says which symbol it is of."""
_HEADER_BYTES = 64
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

    def __init__(self, data: bytes, image: Image) -> None:
        """Args:
        data: An ELF file with the segments ``image``.
        """
        self._data, self._image = data, image
        self._relocations = list(_named_relocations(data))
        self._names = {address: name for _, address, name in self._relocations}

    def named_in_code(self, masked: bytearray) -> None:
        """Put hashes of names where code and relocations refer to them; ``masked`` is what is searched."""
        for place, _, name in self._relocations:
            _U32.pack_into(masked, place + _SYMBOL_AT, name)
        for segment in self._image.segments if self._names else ():
            if not segment.executable:
                continue
            code = self._data[segment.offset : segment.offset + segment.size]
            for at, address in _through_slots(code, segment.address):
                if address in self._names:
                    _U32.pack_into(masked, segment.offset + at, self._names[address])
            for found in _NUMBER.finditer(code):
                _U32.pack_into(masked, segment.offset + found.start() + 1, 0)

    def named(self, masked: bytearray) -> None:
        """Put hashes of names into the slots themselves."""
        for address, name in self._names.items():
            place = self._image.offset_of(address)
            if place is not None and place + _U64.size <= len(masked):
                _U64.pack_into(masked, place, name)


def _named_relocations(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where each relocation of a name is, the address of its slot and a hash of the name."""
    sections = Sections(lambda at, length: data[at : at + length], len(data), data[:_HEADER_BYTES]).all
    for header in sections:
        start, size, symbols_number = header[4], header[5], header[6]
        if header[1] != _RELOCATION_TABLE or symbols_number >= len(sections) or start + size > len(data):
            continue
        symbols = sections[symbols_number]
        names_at = sections[symbols[6]][4] if symbols[6] < len(sections) else len(data)
        for at in range(start, start + size // _RELOCATION.size * _RELOCATION.size, _RELOCATION.size):
            address, _, symbol, _ = _RELOCATION.unpack_from(data, at)
            entry = symbols[4] + symbol * _SYMBOL_BYTES
            if symbol and entry + _SYMBOL_BYTES <= len(data):
                name = names_at + _U32.unpack_from(data, entry)[0]
                yield at, address, crc32(data[name : name + _NAME_AT_MOST].partition(b"\0")[0])


def _through_slots(code: bytes, address: int) -> Iterator[tuple[int, int]]:
    """Yield where operands may be that name a slot, and the slot's address."""
    for found in _THROUGH_SLOT.finditer(code):
        at = found.end()
        yield at, address + at + 4 + _S32.unpack_from(code, at)[0]
    for found in _STUB.finditer(code):
        at = found.start()
        page, load = _TWO_WORDS.unpack_from(code, at)
        yield at, paged_address(page, load, address + at)
