"""Go's table of functions and its list of types: names put where their records are, for the search in masked files.

Both are lists of offsets, nearly all of which change with every version. A search finds no record again, and takes each
for its neighbour: every number differs then by the size of a function, instead of by how far all of them moved.

Source: Go, src/runtime/symtab.go (pcHeader, functab), src/runtime/runtime2.go (_func), src/internal/abi/type.go (Type).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from zlib import crc32

from imagedelta.delta.content import Extent
from imagedelta.delta.predict.elf_sections import Sections
from imagedelta.limits import MIB

_MOST_BYTES = 32 * MIB
"""A larger table is searched as it is."""
_FUNCTIONS = (b".gopclntab\0", b".data.rel.ro.gopclntab\0")
_TYPES, _TYPE_LIST = b".rodata\0", b".typelink\0"
_HEAD = struct.Struct("<IHBB8Q")
"""Magic number, zeros, alignment of code, bytes of a pointer; functions, files, start of code, and where names, units,
files, tables of code and functions begin."""
_MAGICS = (0xFFFFFFF0, 0xFFFFFFF1)
"""From Go 1.18 and from 1.20 on."""
_POINTER_BYTES = 8
_U32 = struct.Struct("<I")
_RECORD = struct.Struct("<II")
"""Of a function: where it begins, and where more is said of it."""
_NAME_AT, _NAME_AT_MOST = 4, 512
_HASH_AT, _HASH_BYTES = 16, 4
"""Of a type."""


class GoTables:
    """The records of a Go program that are told by names; none of other programs."""

    def __init__(self, file: Extent, start: bytes) -> None:
        """Args:
        start: First bytes of ``file``.
        """
        sections = Sections(file.read_at, file.size, start) if start.startswith(b"\x7fELF") else None
        self._told = [*_functions(file, sections), *_types(file, sections)] if sections else []

    def named(self, masked: bytearray, start: int) -> None:
        """Put names into records.

        Args:
            masked: What is searched instead of the bytes of the file from ``start`` on.
        """
        for at, names in self._told:
            first, last = max(at, start), min(at + len(names), start + len(masked))
            if first < last:
                masked[first - start : last - start] = names[first - at : last - at]


def _functions(file: Extent, sections: Sections) -> Iterator[tuple[int, bytes]]:
    """Yield where the list of functions begins, and what stands for it: hashes of their names."""
    for found in filter(None, map(sections.named, _FUNCTIONS)):
        at, size, _ = found
        data = file.read_at(at, size) if _HEAD.size <= size <= _MOST_BYTES else bytes(_HEAD.size)
        magic, _, _, pointer_bytes, count, _, _, names_at, *_, table = _HEAD.unpack_from(data)
        if magic in _MAGICS and pointer_bytes == _POINTER_BYTES and table + count * _RECORD.size <= size:
            out = bytearray()
            for _, function in _RECORD.iter_unpack(data[table : table + count * _RECORD.size]):
                name_at = names_at + _number(data, table + function + _NAME_AT)
                out += _RECORD.pack(crc32(data[name_at : name_at + _NAME_AT_MOST].partition(b"\0")[0]), 0)
            yield at + table, bytes(out)


def _types(file: Extent, sections: Sections) -> Iterator[tuple[int, bytes]]:
    """Yield where the list of types begins, and what stands for it: the hash that each type has in itself."""
    types, listed = sections.named(_TYPES), sections.named(_TYPE_LIST)
    if not types or not listed or not 0 < listed[1] <= _MOST_BYTES:
        return
    offsets = [at for (at,) in _U32.iter_unpack(file.read_at(listed[0], listed[1] // _U32.size * _U32.size))]
    if offsets and max(offsets) < min(types[1], _MOST_BYTES):
        data = file.read_at(types[0], min(types[1], max(offsets) + _HASH_AT + _HASH_BYTES))
        hashes = (data[at + _HASH_AT : at + _HASH_AT + _HASH_BYTES] for at in offsets)
        yield listed[0], b"".join(each.ljust(_HASH_BYTES, b"\0") for each in hashes)


def _number(data: bytes, at: int) -> int:
    """Return what is behind the end, too: 0."""
    return int.from_bytes(data[at : at + 4], "little")
