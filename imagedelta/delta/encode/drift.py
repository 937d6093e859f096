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


def straighten(found: Iterable[Match], old: bytes, new: bytes, loss: int | None = None) -> list[Match]:
    """Return the matches with those of one drift joined, where what is between them fits it too.

    Args:
        loss: So many bytes fewer may be equal for each match that is given up, where references are masked and equal
            bytes are what counts. ``None``: any number.
    """
    line: list[Match] = []
    for match in found:
        line.append(match)
        while joined := _joined(line, old, new, loss):
            count, match_over_all = joined
            line[-count:] = [match_over_all]
    return line


def _joined(line: list[Match], old: bytes, new: bytes, loss: int | None) -> tuple[int, Match] | None:
    """Return how many of the last matches one can stand for, and that one."""
    last = line[-1]
    drift = last.old - last.new
    for count in range(2, min(_FAR, len(line)) + 1):
        first = line[-count]
        if first.old - first.new != drift:
            continue
        end = first.new + first.length
        equal = _equal_between(old, new, drift, end, last.new)
        if equal * _SERVES < last.new - end:
            return None
        given_up = line[1 - count : -1]
        if loss is not None and equal + loss * len(given_up) < sum(_equal_bytes(old, new, one) for one in given_up):
            return None
        return count, Match(first.old, first.new, last.new + last.length - first.new)
    return None


def _equal_between(old: bytes, new: bytes, drift: int, start: int, end: int) -> int:
    if end <= start or start + drift < 0 or end + drift > len(old) or end - start > _MOST_BETWEEN:
        return 0
    return _equal_bytes(old, new, Match(start + drift, start, end - start))


def _equal_bytes(old: bytes, new: bytes, match: Match) -> int:
    ours, theirs = new[match.new : match.new + match.length], old[match.old : match.old + match.length]
    return byte_sums.subtract(ours, theirs).count(0)
