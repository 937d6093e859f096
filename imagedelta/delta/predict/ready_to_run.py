"""Machine code in .NET assemblies: the table of its functions, which is sorted by address.

Source: dotnet/runtime, docs/design/coreclr/botr/readytorun-format.md.
"""

from __future__ import annotations

import struct

from imagedelta.delta.predict.data_numbers import WORD_BYTES, Numbers, quick_addresses
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.pe_image import native_header
from imagedelta.delta.predict.steps import Steps
from imagedelta.delta.predict.tables import Places

_HEADER = struct.Struct("<4sHHII")
_SECTION = struct.Struct("<III")
_SIGNATURE = b"RTR\0"
_SECTIONS_AT_MOST = 32
_RUNTIME_FUNCTIONS = 102


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

    def __init__(self, start: int, size: int, addresses: Steps) -> None:
        self.start, self.end = start, start + size // WORD_BYTES * WORD_BYTES
        self._addresses = addresses

    def predict(
        self, data: bytes, out: bytearray, start: int, site_difference: int, *, with_sizes: bool = True
    ) -> Places:
        """See ``Table``."""
        skip = (self.start - start) % WORD_BYTES
        return Places(quick_addresses(data, out, skip, Numbers(WORD_BYTES, 0, 1 << 32), *self._addresses))
