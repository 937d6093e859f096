"""Files in which references stand for nothing, or for what they refer to, so that a search finds code that moved.

Only the side that builds patches looks at masked files: matches found in them hold for the files as they are.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from zlib import crc32

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.linkage import Slots
from imagedelta.delta.predict import clr, clr_mask
from imagedelta.delta.predict.aarch64 import without_operand
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.elf_tables import FrameIndex
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.prediction import START_BYTES, Part, Prediction
from imagedelta.delta.predict.shifts import Stretch

_ENTRY_WORDS = 2
_HASHED = 32
_LONG = (1 << 64) - 1
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def masked(data: bytes, kinds: Kind) -> bytes:
    """Return the file with its references of these kinds masked."""
    if kinds & Kind.CLR and (file := clr.read_clr(data)):
        data = clr_mask.masked(file)
    if not kinds & ~Kind.CLR:
        return data
    return ProgramMask(Extent(BytesReader(data), 0, len(data)), kinds & ~Kind.CLR).masked(0, len(data))


class ProgramMask:
    """A program, masked range by range: what is predicted for a file that did not change refers to something in it."""

    def __init__(self, file: Extent, kinds: Kind) -> None:
        self._file, self._kinds = file, kinds
        unchanged = Controls(0, [(file.size, 0, 0)])
        self._prediction = Prediction(kinds | Kind.NUMBERS, (), file, unchanged)
        start = file.read_at(0, min(START_BYTES, file.size))
        self._prediction.show(start)
        self._image = read_elf(start) or read_pe(start) or Image(())
        self._slots = Slots(file, start, self._image)

    def masked(self, start: int, end: int) -> bytes:
        """Return a range with its references masked."""
        out = bytearray()
        addresses = array("Q")
        for part in self._prediction.parts(Stretch(start, start, end - start)):
            old = self._file.read_at(part.old, part.length)
            if self._kinds & Kind.AARCH64 and _is_code(part):
                out += _instructions_masked(old, part, self._prediction)
            else:
                out += _masked(old, part, self._prediction, addresses)
        self._slots.named_in_code(out, start)
        places, values = addresses[::2], addresses[1::2]
        named = [self._named(out, start, values, number) for number in range(len(values))]
        for place, name in zip(places, named, strict=True):
            _U64.pack_into(out, place - start, name)
        self._slots.named(out, start)
        return bytes(out)

    def _named(self, masked: bytearray, start: int, values: array[int], number: int) -> int:
        """Return what stands for an address: a hash of what is there, as long as nothing but references moved.

        What is there may be beyond the range. Then it is told by how far from another it is: an address from the last
        but one, as relocations are pairs of a place and an address.
        """
        place = self._image.offset_of(values[number])
        if place is None:
            return 0
        if start <= place < start + len(masked):
            return crc32(masked[place - start : place - start + _HASHED])
        return values[number] - (values[number - 2] if number > 1 else 0) & _LONG


def _is_code(part: Part) -> bool:
    return bool(part.run and part.run.segment and part.run.segment.executable and not part.table)


def _instructions_masked(data: bytes, part: Part, prediction: Prediction) -> bytes:
    """Return a part with the operands of its instructions set to zero; what they do with them stays."""
    out = bytearray(data)
    for at in prediction.predicted(part).words:
        _U32.pack_into(out, at, without_operand(_U32.unpack_from(data, at)[0]))
    return bytes(out)


def _masked(data: bytes, part: Part, prediction: Prediction, addresses: array[int]) -> bytes:
    """Return a part with its references set to zero; places and values of 64 bits are added to ``addresses``."""
    if isinstance(part.table, FrameIndex):
        return _steps(data)
    out = bytearray(data)
    for at, width in _places(part, prediction):
        if width == _U64.size:
            addresses.extend((part.old + at, *_U64.unpack_from(data, at)))
        out[at : at + width] = bytes(width)
    return bytes(out)


def _places(part: Part, prediction: Prediction) -> Iterator[tuple[int, int]]:
    if part.table:
        for field in part.table.fields(part.old, part.old + part.length, 0):
            at = field.offset - part.old
            if not field.is_size and at >= 0 and at + field.width <= part.length:
                yield at, field.width
        return
    found = prediction.predicted(part)
    for at in found.words:
        yield at, _U32.size
    for at in found.longs:
        yield at, _U64.size


def _steps(data: bytes) -> bytes:
    """Return by how much each entry differs from the one before: a function that moved with its neighbours is equal."""
    words = struct.unpack_from(f"<{len(data) // 4}I", data)
    before = (0,) * _ENTRY_WORDS + words
    steps = [word - last & 0xFFFFFFFF for word, last in zip(words, before, strict=False)]
    return struct.pack(f"<{len(steps)}I", *steps) + data[4 * len(steps) :]
