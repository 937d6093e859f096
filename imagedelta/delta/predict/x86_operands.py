"""Operands of x86-64 code: which bytes count as one, and what each should be in the new file.

Instructions are not decoded: an opcode whose operand points into the image is taken for one, which is seldom wrong,
and where it is wrong, it is so on both sides alike. The package imagedelta-native does the same in C, faster.

Source: docs/formats/patch.md, section 7a; Intel 64 manual, volume 2.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right

from imagedelta.delta.predict.in_c import in_c
from imagedelta.delta.predict.site import Site
from imagedelta.delta.predict.steps import NOWHERE
from imagedelta.delta.predict.x86_opcodes import OPCODES, Operand, Sought

_BEHIND: dict[int | None, int] = {None: 4, Operand.RELATIVE_AND_BYTE: 5, Operand.RELATIVE_AND_NUMBER: 8}
"""How far behind the start of its operand an instruction ends."""
_SIGNS = (0, 0xFF)
"""Of a small number the highest byte."""
_LEAST_IMMEDIATE = 0x10000
_S32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_WORD = 0xFFFFFFFF


def predict_operands(
    code: bytes, out: bytearray, sought: Sought, site: Site, starts: array[int], differences: array[int]
) -> list[int]:
    """Predict the operands in a part of the code.

    Args:
        code: The old bytes of the part.
        out: The same bytes; operands are overwritten.
        starts: With ``differences``, by how much addresses moved: see ``Steps``.

    Returns:
        Where the operands are in the part.
    """
    base, low, high, same = site
    unpack, pack, behind = _S32.unpack_from, _U32.pack_into, _BEHIND
    number = _Numbers(code, out, sought, starts, differences).predict
    free, last = 0, len(code) - 4
    places: list[int] = []
    for found in OPCODES[sought].finditer(code):
        at, group = found.end(), found.lastindex
        if found.start() < free or at > last:
            continue
        if group and group >= Operand.NUMBER:
            if number(at, group):
                free = at + 4
                places.append(at)
            continue
        (value,) = unpack(code, at)
        target = base + at + behind[group] + value
        if not low <= target < high:
            difference = differences[bisect_right(starts, target) - 1]
            if difference == NOWHERE:
                continue
            if difference != same:
                pack(out, at, value + difference - same & _WORD)
        free = at + 4
        places.append(at)
        stores = group == Operand.RELATIVE_AND_NUMBER and sought >= Sought.NUMBERS and free <= last
        if stores and number(free, Operand.NUMBER):
            places.append(free)
            free += 4
    return places


class _Numbers:
    """Operands that are not relative."""

    def __init__(
        self, code: bytes, out: bytearray, sought: Sought, starts: array[int], differences: array[int]
    ) -> None:
        self._code, self._out, self._starts, self._differences = code, out, starts, differences
        self._with_addresses = sought >= Sought.ADDRESSES

    def predict(self, at: int, group: int) -> bool:
        """Predict one; return whether it counts as one."""
        (value,) = _S32.unpack_from(self._code, at)
        if self._with_addresses and group != Operand.BITS and value >= _LEAST_IMMEDIATE:
            difference = self._differences[bisect_right(self._starts, value) - 1]
            if difference != NOWHERE:
                _U32.pack_into(self._out, at, value + difference & _WORD)
                return True
        return group != Operand.ADDRESS and self._code[at + 3] in _SIGNS


quick_operands = in_c(predict_operands)
"""``predict_operands``, in C where that is there."""
