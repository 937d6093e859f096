"""The difference of two pieces of files: bsdiff's controls, differences and extra bytes.

Source: Colin Percival, Naive differences of executable code (2003); the bsdiff4 library finds the matches.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bsdiff4 import core

from imagedelta.delta import byte_sums

_TRIPLE = struct.Struct("<QQQ")
_SIGN = 1 << 63
_END_MARK = hashlib.sha256(b"end of the old bytes").digest()
"""Put after the old bytes. bsdiff's search takes two texts for equal as soon as one of them ends; where the old
bytes end in a long repetition (zeros, a pattern) it then misses long matches, and searches anew from every byte:
2 MB of zeros take two minutes, and with a mark that ends the repetition a quarter of a second."""
_SPARSE = 50
"""Files of one size that differ in fewer than one in 50 bytes are subtracted: no search finds better."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How to make new bytes of old ones."""

    controls: list[tuple[int, int, int]]
    """(bytes that are old + difference, extra bytes after them, how far to move in the old bytes)."""
    difference: bytes
    extra: bytes


def difference(old: bytes, new: bytes, min_match: int) -> Difference:
    """Return how to make ``new`` of ``old``; neither is empty.

    Memory: 17 bytes per byte of ``old``.

    Args:
        min_match: Matches shorter than this are turned into extra bytes.
    """
    if len(old) == len(new):
        plain = byte_sums.subtract(new, old)
        if (len(new) - plain.count(0)) * _SPARSE <= len(new):
            return Difference([(len(new), 0, 0)], plain, b"")
    controls, matched, extra = core.diff(old + _END_MARK, new)
    inside = _Inside(len(old), min_match)
    return inside.rewrite(_triples(controls), matched, extra, new)


def _triples(controls: bytes) -> Iterator[tuple[int, int, int]]:
    for same, extra, seek in _TRIPLE.iter_unpack(controls):
        yield same, extra, -(seek & (_SIGN - 1)) if seek & _SIGN else seek


class _Inside:
    """Rewrites bsdiff's controls: none reaches past the old bytes, none is shorter than it is worth."""

    def __init__(self, old_size: int, min_match: int) -> None:
        self._old_size = old_size
        self._min_match = min_match

    def rewrite(self, triples: Iterator[tuple[int, int, int]], matched: bytes, extra: bytes, new: bytes) -> Difference:
        controls: list[tuple[int, int, int]] = []
        kept_matched, kept_extra = [], []
        at = at_old = at_matched = at_extra = 0
        for found, more, seek in triples:
            same = min(found, max(0, self._old_size - at_old))
            part = matched[at_matched : at_matched + same]
            if controls and (self._is_poor(part) or same + more == 0):
                same = 0
                before = controls[-1]
                controls[-1] = (before[0], before[1] + found + more, before[2] + found + seek)
            else:
                controls.append((same, found - same + more, found - same + seek))
                kept_matched.append(part)
            kept_extra.append(new[at + same : at + found])
            kept_extra.append(extra[at_extra : at_extra + more])
            at, at_old = at + found + more, at_old + found + seek
            at_matched, at_extra = at_matched + found, at_extra + more
        controls[-1] = (*controls[-1][:2], 0)  # nobody follows the last move
        return _with_a_first_byte(Difference(controls, b"".join(kept_matched), b"".join(kept_extra)), new)

    def _is_poor(self, matched: bytes) -> bool:
        size = len(matched)
        return size < self._min_match or (size < 4 * self._min_match and size - matched.count(0) > size // 2)


def _with_a_first_byte(found: Difference, new: bytes) -> Difference:
    """Make the first control make something: bsdiff's may only move, which the format does not allow."""
    same, more, seek = found.controls[0]
    if same + more or len(found.controls) == 1:
        return found
    same, more, next_seek = found.controls[1]
    if not same:
        return Difference([(0, more, seek + next_seek), *found.controls[2:]], found.difference, found.extra)
    controls = [(0, 1, seek + 1), (same - 1, more, next_seek), *found.controls[2:]]
    return Difference(controls, found.difference[1:], new[:1] + found.extra)
