"""Machine code in .NET assemblies: the table of its functions, which is sorted by address.

Source: dotnet/runtime, docs/design/coreclr/botr/readytorun-format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imagedelta.delta.predict.elf_tables import Field
from imagedelta.delta.predict.image import AddressMap, Image
from imagedelta.delta.predict.pe_image import native_header

_HEADER = struct.Struct("<4sHHII")
_SECTION = struct.Struct("<III")
_SIGNATURE = b"RTR\0"
_SECTIONS_AT_MOST = 32
_RUNTIME_FUNCTIONS = 102
_U32 = struct.Struct("<I")


def runtime_functions(data: bytes, image: Image) -> tuple[int, int] | None:
    """Return place and size of the table; None where an assembly has none within the file."""
    at = native_header(data, image)
    if at is None or at + _HEADER.size > len(data):
        return None
    signature, _, _, _, count = _HEADER.unpack_from(data, at)
    first = at + _HEADER.size
    if signature != _SIGNATURE or count > _SECTIONS_AT_MOST or first + count * _SECTION.size > len(data):
        return None
    for number in range(count):
        kind, address, size = _SECTION.unpack_from(data, first + number * _SECTION.size)
        place = image.offset_of(address) if kind == _RUNTIME_FUNCTIONS else None
        if place is not None and place + size <= len(data):
            return place, size
    return None


class RuntimeFunctions:
    """Addresses of 32 bits: start, end and unwinding of each function."""

    def __init__(self, data: bytes, start: int, addresses: AddressMap) -> None:
        self.start, self.end = start, start + len(data) // _U32.size * _U32.size
        self._data, self._addresses = data, addresses

    def fields(self, start: int, end: int, site_difference: int) -> Iterator[Field]:
        """See ``Table``."""
        first = max(0, (start - self.start) // _U32.size) * _U32.size
        for at in range(first, min(end, self.end) - self.start, _U32.size):
            moved = self._addresses.moved(_U32.unpack_from(self._data, at)[0])
            if moved is not None:
                yield Field(self.start + at, _U32.size, moved)
