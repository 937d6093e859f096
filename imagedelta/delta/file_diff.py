"""The difference of two pieces of files: bsdiff's controls, differences and extra bytes.

Source: Colin Percival, Naive differences of executable code (2003); the bsdiff4 library finds the matches.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bsdiff4 import core

from imagedelta.delta import byte_sums

_TRIPLE = struct.Struct("<QQQ")
_SIGN = 1 << 63
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
    controls, matched, extra = core.diff(old, new)
    return _without_short_matches(_triples(controls), matched, extra, new, min_match)


def _triples(controls: bytes) -> Iterator[tuple[int, int, int]]:
    for same, extra, seek in _TRIPLE.iter_unpack(controls):
        yield same, extra, -(seek & (_SIGN - 1)) if seek & _SIGN else seek


def _without_short_matches(
    triples: Iterator[tuple[int, int, int]], matched: bytes, extra: bytes, new: bytes, min_match: int
) -> Difference:
    controls: list[tuple[int, int, int]] = []
    kept_matched, kept_extra = [], []
    at = at_matched = at_extra = 0
    for same, more, seek in triples:
        part = matched[at_matched : at_matched + same]
        if controls and (_is_poor(part, min_match) or same + more == 0):
            before = controls[-1]
            controls[-1] = (before[0], before[1] + same + more, before[2] + same + seek)
            kept_extra.append(new[at : at + same])
        else:
            controls.append((same, more, seek))
            kept_matched.append(part)
        kept_extra.append(extra[at_extra : at_extra + more])
        at, at_matched, at_extra = at + same + more, at_matched + same, at_extra + more
    controls[-1] = (*controls[-1][:2], 0)  # nobody follows the last move
    found = Difference(controls, b"".join(kept_matched), b"".join(kept_extra))
    return _with_a_first_byte(found, new)


def _is_poor(matched: bytes, min_match: int) -> bool:
    size = len(matched)
    return size < min_match or (size < 4 * min_match and size - matched.count(0) > size // 2)


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
