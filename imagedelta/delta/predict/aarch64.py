"""References in aarch64 programs: branches, addresses near the instruction, and pages with what is added to them.

Each instruction is a word whose highest byte nearly always says whether it has a reference, so that most of them are
passed over unread.

Source: docs/formats/patch.md, section 7a; Arm Architecture Reference Manual for A-profile, chapter C4.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from imagedelta.delta.predict.in_c import in_c
from imagedelta.delta.predict.site import Site, Sites, each_site
from imagedelta.delta.predict.steps import NOWHERE, Steps

_U32 = struct.Struct("<I")
_WORD_BYTES = 4
_PAGE_BITS = 12
_PAGE = (1 << _PAGE_BITS) - 1
_REGISTER = 31
_USERS_WITHIN = 32
"""What is added to a page is sought in so many instructions behind the one that puts it into a register."""


class _Distance(NamedTuple):
    """Where in an instruction a distance is, which counts instructions."""

    shift: int
    bits: int


_DISTANCES = {
    top: form
    for form, tops in {
        _Distance(0, 26): (0x14, 0x15, 0x16, 0x17, 0x94, 0x95, 0x96, 0x97),  # B, BL
        _Distance(5, 19): (0x54, 0x34, 0x35, 0xB4, 0xB5, 0x18, 0x1C, 0x58, 0x5C, 0x98, 0x9C, 0xD8, 0xDC),  # and LDR
        _Distance(5, 14): (0x36, 0x37, 0xB6, 0xB7),  # TBZ, TBNZ
    }.items()
    for top in tops
}
_NEAR, _PAGES = (0x10, 0x30, 0x50, 0x70), (0x90, 0xB0, 0xD0, 0xF0)
"""ADR and ADRP."""
_TOPS = re.compile(b"[" + re.escape(bytes([*_DISTANCES, *_NEAR, *_PAGES])) + b"]")
_SPLIT = 0x60FFFFE0
"""The operand of ADR and ADRP: its two lowest bits are apart from the others."""
_ADDED = 0x003FFC00
"""The operand of what adds to a page."""


class Aarch64:
    """The references of the code of one file."""

    ALIGNED = _WORD_BYTES

    def __init__(self, moves: Steps) -> None:
        self._moves = moves

    def code(self, data: bytes, out: bytearray, sites: Sites) -> list[int]:
        """Predict the operands in stretches of code: see ``X8664``; places are those of whole instructions."""
        return _quickly(data, out, sites.numbers, *self._moves)


def predict_aarch64(
    code: bytes, out: bytearray, sites: array[int], starts: array[int], differences: array[int]
) -> list[int]:
    """Predict the operands in stretches of code.

    Args:
        code: Old bytes.
        out: The same bytes; instructions are overwritten.
        sites: The numbers of ``Sites``.
        starts: With ``differences``, by how much addresses moved: see ``Steps``.

    Returns:
        Where instructions with references are; those of one stretch in any order.
    """
    places: list[int] = []
    for site in each_site(sites):
        places += _predict_site(code, out, site, starts, differences)
    return places


def _predict_site(
    code: bytes, out: bytearray, site: Site, starts: array[int], differences: array[int]
) -> Iterator[int]:
    start, end, base, low, high, same = site
    tops = code[start + _WORD_BYTES - 1 : end : _WORD_BYTES]
    words = struct.unpack_from(f"<{len(tops)}I", code, start)
    pages = _Pages(words, starts, differences)
    for found in _TOPS.finditer(tops):
        at = found.start()
        place, word, address = start + _WORD_BYTES * at, words[at], base + _WORD_BYTES * at
        form = _DISTANCES.get(tops[at])
        if form is None and word & 1 << 31:
            for user, becomes in pages.predicted(at, address, same):
                _U32.pack_into(out, start + _WORD_BYTES * user, becomes)
                yield start + _WORD_BYTES * user
            continue
        value = _split(word) if form is None else _signed(word >> form.shift, form.bits) * _WORD_BYTES
        if low <= address + value < high:
            yield place
            continue
        difference = differences[bisect_right(starts, address + value) - 1]
        if difference != NOWHERE:
            value += difference - same
            _U32.pack_into(out, place, _put_split(word, value) if form is None else _put(word, form, value))
            yield place


class _Pages:
    """What puts a page into a register, and what adds to it."""

    def __init__(self, words: tuple[int, ...], starts: array[int], differences: array[int]) -> None:
        self._words, self._starts, self._differences = words, starts, differences

    def predicted(self, at: int, address: int, drift: int) -> Iterable[tuple[int, int]]:
        """Return which instructions these are, and their new forms.

        Args:
            at: Number of the first, whose address moved by ``drift``.
        """
        words, word = self._words, self._words[at]
        new_page = address + drift >> _PAGE_BITS
        register = word & _REGISTER
        found: list[tuple[int, int]] = []
        for user in range(at + 1, min(len(words), at + 1 + _USERS_WITHIN)):
            other = words[user]
            if other >> 5 & _REGISTER == register and _adds(other):
                target = paged_address(word, other, address)
                difference = self._differences[bisect_right(self._starts, target) - 1]
                if difference != NOWHERE:
                    if not found:
                        found.append((at, _put_split(word, (target + difference >> _PAGE_BITS) - new_page)))
                    found.append((user, other & ~_ADDED | (target + difference & _PAGE) >> _scale(other) << 10))
            if other & _REGISTER == register:
                break
        return found


def paged_address(page: int, user: int, site: int) -> int:
    """Return what an instruction at ``site`` that puts a page into a register and one that adds to it refer to."""
    return ((site >> _PAGE_BITS) + _split(page) << _PAGE_BITS) + ((user >> 10 & _PAGE) << _scale(user))


def _adds(word: int) -> bool:
    """Return whether it is ADD with a number that is not shifted, or loads or stores at a distance from a register."""
    return word & 0xFFC00000 == 0x91000000 or word & 0x3B000000 == 0x39000000


def _scale(word: int) -> int:
    """Return by how many bits what an instruction adds is shifted."""
    if word & 0x3B000000 != 0x39000000:
        return 0
    return 4 if word & 0x04800000 == 0x04800000 else word >> 30


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


def _put(word: int, form: _Distance, value: int) -> int:
    mask = (1 << form.bits) - 1
    return word & ~(mask << form.shift) | (value >> 2 & mask) << form.shift


def _split(word: int) -> int:
    return _signed(word >> 3 & 0x1FFFFC | word >> 29 & 3, 21)


def _put_split(word: int, value: int) -> int:
    return word & ~_SPLIT | (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5


def without_operand(word: int) -> int:
    """Return an instruction that refers to something without its operand."""
    top = word >> 24
    form = _DISTANCES.get(top)
    if form:
        return _put(word, form, 0)
    return word & ~(_ADDED if top not in _NEAR + _PAGES else _SPLIT)


_quickly = in_c(predict_aarch64)
