"""Files in which references stand for nothing, or for what they refer to, so that a search finds code that moved.

Only the side that builds patches looks at masked files: matches found in them hold for the files as they are.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from zlib import crc32

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.go_tables import GoTables
from imagedelta.delta.encode.linkage import Slots
from imagedelta.delta.predict import clr, clr_mask
from imagedelta.delta.predict.aarch64 import without_operand
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.differences import quick_numbers
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.elf_tables import FrameIndex, Symbols
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.old import Part
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.delta.predict.tables import Table

_HASHED = 32
_TOLD = 4
"""Numbers that are noted of a reference."""
_NOWHERE = (1 << 64) - 1
_SIGN = 1 << 31
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def masked(data: bytes, kinds: Kind, file: clr.ClrFile | None = None) -> bytes:
    """Return the file with its references of these kinds masked.

    Args:
        file: What ``data`` is, if it is a .NET file.
    """
    if kinds & Kind.CLR and file:
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
        self._go = GoTables(file, start)

    def masked(self, start: int, end: int) -> bytes:
        """Return a range with its references masked."""
        out = bytearray()
        told = array("Q")
        for part in self._prediction.parts(Stretch(start, start, end - start)):
            old = self._file.read_at(part.old, part.length)
            if self._kinds & Kind.AARCH64 and _is_code(part):
                out += _instructions_masked(old, part, self._prediction)
            else:
                out += self._masked(old, part, told)
        self._slots.named_in_code(out, start)
        for number in range(0, len(told), _TOLD):
            place, width, _, _ = told[number : number + _TOLD]
            name = _named(out, start, told, number) & (1 << 8 * width) - 1
            out[place - start : place - start + width] = name.to_bytes(width, "little")
        self._slots.named(out, start)
        self._go.named(out, start)
        return bytes(out)

    def _masked(self, data: bytes, part: Part, told: array[int]) -> bytes:
        """Return a part with its references set to zero.

        Args:
            told: Takes of those that tell to what they refer place, width, value and the place of that.
        """
        out = bytearray(data)
        words, longs = _places(data, part, self._prediction)
        for places, width in ((words, _U32.size), (longs, _U64.size)):
            if places:  # each number less itself
                quick_numbers(out, data, data, data, places, width, subtract=True)
        for at, width in _telling(part.table, words, longs):
            value = int.from_bytes(data[at : at + width], "little")
            target = self._target(part.table, width, value)
            if target is not None:
                told.extend((part.old + at, width, value, target))
        return bytes(out)

    def _target(self, table: Table | None, width: int, value: int) -> int | None:
        """Return where in the file is what a number refers to, if it is of those that tell."""
        if isinstance(table, Symbols) and width == _U32.size:
            return table.names_at + value
        if isinstance(table, FrameIndex):
            place = self._image.offset_of(table.address + (value ^ _SIGN) - _SIGN)
        elif width == _U64.size:
            place = self._image.offset_of(value)
        else:
            return None
        return _NOWHERE if place is None else place


def _named(masked: bytearray, start: int, told: array[int], number: int) -> int:
    """Return what stands for a reference: a hash of what is there, as long as nothing but references moved.

    What is there may be beyond the range. Then a number is told by how far it is from the last but one: relocations
    are pairs of a place and an address, symbols of a name and an address, the index of frames of two addresses.
    """
    _, _, value, target = told[number : number + _TOLD]
    if target == _NOWHERE:
        return 0
    if start <= target < start + len(masked):
        return crc32(masked[target - start : target - start + _HASHED])
    return value - told[number + 2 - 2 * _TOLD] if number >= 2 * _TOLD else value


def _is_code(part: Part) -> bool:
    return bool(part.run and part.run.segment and part.run.segment.executable and not part.table)


def _instructions_masked(data: bytes, part: Part, prediction: Prediction) -> bytes:
    """Return a part with the operands of its instructions set to zero; what they do with them stays."""
    out = bytearray(data)
    for at in prediction.predicted(part).words:
        _U32.pack_into(out, at, without_operand(_U32.unpack_from(data, at)[0]))
    return bytes(out)


def _places(data: bytes, part: Part, prediction: Prediction) -> tuple[Sequence[int], Sequence[int]]:
    """Return where in a part numbers of 32 and of 64 bits refer to something."""
    if part.table:
        return part.table.predict(data, bytearray(data), part.old, 0, with_sizes=False)
    found = prediction.predicted(part)
    return found.words, found.longs


def _telling(table: Table | None, words: Sequence[int], longs: Sequence[int]) -> list[tuple[int, int]]:
    """Return place and width of the numbers that may tell to what they refer; those of a table in their order."""
    found = [(at, _U64.size) for at in longs]
    if isinstance(table, Symbols | FrameIndex):
        found += [(at, _U32.size) for at in words]
    return sorted(found) if table else found
