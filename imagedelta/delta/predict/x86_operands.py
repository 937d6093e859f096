"""Operands of x86-64 code: which bytes count as one, and what each should be in the new file.

Instructions are not decoded: an opcode whose operand points into the image is taken for one, which is seldom wrong,
and where it is wrong, it is so on both sides alike. The package imagedelta-native does the same in C, faster.

Source: docs/formats/patch.md, section 7a; Intel 64 manual, volume 2.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable

from imagedelta.delta.predict.in_c import in_c
from imagedelta.delta.predict.site import each_site
from imagedelta.delta.predict.steps import NOWHERE
from imagedelta.delta.predict.x86_opcodes import OPCODES, Operand, Sought

_BEHIND = (4, 5, 8)
"""How far behind the start of a relative operand its instruction ends."""
_NUMBER, _BITS, _ADDRESS = int(Operand.NUMBER), int(Operand.BITS), int(Operand.ADDRESS)
_SIGNS = (0, 0xFF)
"""Of a small number the highest byte."""
_LEAST_IMMEDIATE = 0x10000
_S32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_WORD = 0xFFFFFFFF


def predict_x86_64(
    code: bytes, out: bytearray, sought: Sought, sites: array[int], starts: array[int], differences: array[int]
) -> list[int]:
    """Predict the operands in stretches of code.

    Args:
        code: Old bytes.
        out: The same bytes; operands are overwritten.
        sites: The numbers of ``Sites``.
        starts: With ``differences``, by how much addresses moved: see ``Steps``.

    Returns:
        Where the operands are.
    """
    expression, operands = OPCODES[sought]
    unpack, pack, behind, least_number = _S32.unpack_from, _U32.pack_into, _BEHIND, _NUMBER
    number = _numbers(code, out, sought, starts, differences)
    places: list[int] = []
    for first, end, base, low, high, same in each_site(sites):
        free, last, ahead = first, end - 4, base - first
        for found in expression.finditer(code, first, end):
            start, at = found.span()
            if start < free or at > last:
                continue
            operand = operands[found.lastindex or 0]
            if operand >= least_number:
                if number(at, operand):
                    free = at + 4
                    places.append(at)
                continue
            (value,) = unpack(code, at)
            target = ahead + at + behind[operand] + value
            if not low <= target < high:
                difference = differences[bisect_right(starts, target) - 1]
                if difference == NOWHERE:
                    continue
                if difference != same:
                    pack(out, at, value + difference - same & _WORD)
            free = at + 4
            places.append(at)
            stores = operand == Operand.RELATIVE_AND_NUMBER and sought >= Sought.NUMBERS and free <= last
            if stores and number(free, least_number):
                places.append(free)
                free += 4
    return places


def _numbers(
    code: bytes, out: bytearray, sought: Sought, starts: array[int], differences: array[int]
) -> Callable[[int, int], bool]:
    """Return what predicts an operand that is not relative, and says whether it counts as one."""
    with_addresses = sought >= Sought.ADDRESSES
    unpack, pack = _S32.unpack_from, _U32.pack_into

    def predict(at: int, operand: int) -> bool:
        if with_addresses and operand != _BITS:
            (value,) = unpack(code, at)
            if value >= _LEAST_IMMEDIATE:
                difference = differences[bisect_right(starts, value) - 1]
                if difference != NOWHERE:
                    pack(out, at, value + difference & _WORD)
                    return True
        return operand != _ADDRESS and code[at + 3] in _SIGNS

    return predict


quick_x86_64 = in_c(predict_x86_64)
