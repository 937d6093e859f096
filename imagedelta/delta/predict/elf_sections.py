"""The section headers of an ELF file. Source: System V ABI, chapter 4."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SECTIONS_AT_MOST = 128
_SYMBOL_TABLES, _RELOCATION_TABLE = (2, 11), 4
_FRAMES_NAME = b".eh_frame\0"


class ReadAt(Protocol):
    """Reads bytes of a file."""

    def __call__(self, offset: int, length: int, /) -> bytes: ...


class Sections:
    """The section headers of an ELF file."""

    def __init__(self, read_at: ReadAt, size: int, start: bytes) -> None:
        self.all: list[tuple[int, ...]] = []
        self._names_at = -1
        if len(start) < 64:
            return
        (table,) = struct.unpack_from("<Q", start, 40)
        entry, count, names = struct.unpack_from("<HHH", start, 58)
        if entry != _SECTION.size or names >= count or count > _SECTIONS_AT_MOST or table + entry * count > size:
            return
        self.all = list(_SECTION.iter_unpack(read_at(table, entry * count)))
        self._names_at = self.all[names][4]
        self._read_at, self._size = read_at, size

    def symbols(self) -> Iterator[tuple[int, int, int]]:
        """Yield where symbol tables are: start, size and where the table of their names begins."""
        for header in self.all:
            if header[1] in _SYMBOL_TABLES and header[6] < len(self.all) and header[4] + header[5] <= self._size:
                yield header[4], header[5], self.all[header[6]][4]

    def relocations(self) -> Iterator[tuple[int, int]]:
        """Yield where tables of relocations are, and their size."""
        for header in self.all:
            if header[1] == _RELOCATION_TABLE and header[4] + header[5] <= self._size:
                yield header[4], header[5]

    def frames(self) -> tuple[int, int, int] | None:
        """Return start, size and address of the table of unwinding."""
        return self.named(_FRAMES_NAME)

    def named(self, name: bytes) -> tuple[int, int, int] | None:
        """Return start, size and address of the first section of a name, which ends with its zero."""
        for header in self.all:
            name_at = self._names_at + header[0]
            if max(name_at + len(name), header[4] + header[5]) > self._size:
                continue
            if self._read_at(name_at, len(name)) == name:
                return header[4], header[5], header[3]
        return None
