"""Straightening matches: a search takes the longest equal stretch wherever it is, and so jumps about.

In code whose addresses moved, every instruction with an address differs, and some other place has a longer equal
stretch by chance. Along one drift (place in the old file less place in the new) the differences are regular, and
pack to less than half, so a match is given up where its neighbours lie on one drift that serves it as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagedelta.delta import byte_sums
from imagedelta.delta.encode.matches import Match
from imagedelta.limits import KIB

_FAR = 32
"""Matches between two of one drift that are looked at."""
_MOST_BETWEEN = 256 * KIB
_SERVES = 2
"""Along the drift at least one byte in so many must be equal."""


def straighten(found: Iterable[Match], old: bytes, new: bytes) -> list[Match]:
    """Return the matches with those of one drift joined, where what is between them fits it too."""
    line: list[Match] = []
    for match in found:
        line.append(match)
        while joined := _joined(line, old, new):
            count, match_over_all = joined
            line[-count:] = [match_over_all]
    return line


def _joined(line: list[Match], old: bytes, new: bytes) -> tuple[int, Match] | None:
    """Return how many of the last matches one can stand for, and that one."""
    last = line[-1]
    drift = last.old - last.new
    for count in range(2, min(_FAR, len(line)) + 1):
        first = line[-count]
        if first.old - first.new != drift:
            continue
        if not _serves(old, new, drift, first.new + first.length, last.new):
            return None
        return count, Match(first.old, first.new, last.new + last.length - first.new)
    return None


def _serves(old: bytes, new: bytes, drift: int, start: int, end: int) -> bool:
    if end <= start:
        return True
    if start + drift < 0 or end + drift > len(old) or end - start > _MOST_BETWEEN:
        return False
    between = byte_sums.subtract(new[start:end], old[start + drift : end + drift])
    return between.count(0) * _SERVES >= end - start
