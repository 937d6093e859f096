"""The difference of two pieces of files: controls, differences and extra bytes, as bsdiff has them.

hdiffpatch finds the matches, on small files, where its time does not matter, bsdiff4 as well. Of the matches as
they were found and straightened, those are taken whose difference packs best.

Source: Colin Percival, Naive differences of executable code (2003); docs/adr/0009.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bsdiff4 import core

from imagedelta.delta import byte_sums
from imagedelta.delta.encode.drift import straighten
from imagedelta.delta.encode.matches import Match, matches
from imagedelta.delta.predict.kinds import Kind
from imagedelta.limits import KIB

_TRIPLE = struct.Struct("<QQQ")
_SIGN = 1 << 63
_END_MARK = hashlib.sha256(b"end of the old bytes").digest()
"""Put after the old bytes. Where they end in a long repetition (zeros, a pattern), bsdiff's search takes two texts
for equal as soon as one of them ends, misses long matches and searches anew from every byte: 2 MB of zeros take
two minutes, and with a mark that ends the repetition a quarter of a second."""
_SPARSE = 50
"""Files of one size that differ in fewer than one in 50 bytes are subtracted: no search finds better."""
_BOTH_UP_TO = 256 * KIB
CONTROL_BYTES = 4
"""What a control costs, about."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How to make new bytes of old ones."""

    start: int
    """Where in the old bytes the first control begins."""
    controls: list[tuple[int, int, int]]
    """(bytes that are old + difference, extra bytes after them, how far to move in the old bytes)."""
    difference: bytes
    extra: bytes
    kinds: Kind = Kind.NONE
    """References that are predicted; the difference is from what they are predicted to be."""
    corrections: tuple[int, ...] = ()
    """Where parts of a .NET file begin elsewhere than its matches say."""

    def cost(self) -> int:
        """Return about how many bytes it packs to."""
        return packed_bytes(self.difference) + packed_bytes(self.extra) + CONTROL_BYTES * len(self.controls)


def difference(old: bytes, new: bytes, min_match: int) -> Difference:
    """Return how to make ``new`` of ``old``; neither is empty.

    Memory: ``matches.BYTES_PER_OLD_BYTE`` per byte of ``old``.

    Args:
        min_match: Matches shorter than this are turned into extra bytes.
    """
    if len(old) == len(new):
        plain = byte_sums.subtract(new, old)
        if (len(new) - plain.count(0)) * _SPARSE <= len(new):
            return Difference(0, [(len(new), 0, 0)], plain, b"")
    found = [matches(old, new)]
    if max(len(old), len(new)) <= _BOTH_UP_TO:
        found.append(_bsdiff_matches(old, new))
    found += [straight for matched in found if (straight := straighten(matched, old, new)) != matched]
    return min((_difference(old, new, matched, min_match) for matched in found), key=Difference.cost)


def between(old: bytes, new: bytes, found: Iterable[Match], min_match: int) -> Difference:
    """Return how to make ``new`` of ``old`` along given matches; poor ones are left out."""
    return _difference(old, new, found, min_match)


def _bsdiff_matches(old: bytes, new: bytes) -> list[Match]:
    found = []
    controls, _, _ = core.diff(old + _END_MARK, new)
    at = at_old = 0
    for same, extra, seek in _TRIPLE.iter_unpack(controls):
        found.append(Match(at_old, at, min(same, max(0, len(old) - at_old))))
        at += same + extra
        at_old += same - (seek & (_SIGN - 1)) if seek & _SIGN else same + seek
    return found


def _difference(old: bytes, new: bytes, found: Iterable[Match], min_match: int) -> Difference:
    kept: list[Match] = []
    differences: list[bytes] = []
    for match in found:
        plain = byte_sums.subtract(new[match.new : match.new + match.length], old[match.old : match.old + match.length])
        if not _is_poor(plain, min_match):
            kept.append(match)
            differences.append(plain)
    return replace(along(new, kept), difference=b"".join(differences))


def along(new: bytes, kept: list[Match]) -> Difference:
    """Return the difference along matches, without its differences."""
    controls, gaps = controls_of(kept, len(new))
    extra = b"".join(new[start : start + length] for start, length in gaps)
    return Difference(kept[0].old if kept else 0, controls, b"", extra)


def controls_of(kept: list[Match], size: int) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Return the controls of a new file of so many bytes along its matches, and start and length of what is in none."""
    first = kept[0].new if kept else size
    controls, gaps = ([(0, first, 0)], [(0, first)]) if first else ([], [])
    for place, match in enumerate(kept):
        following = kept[place + 1] if place + 1 < len(kept) else None
        end = match.new + match.length
        extra = (following.new if following else size) - end
        controls.append((match.length, extra, following.old - match.old - match.length if following else 0))
        gaps.append((end, extra))
    return controls, gaps


def packed_bytes(data: bytes) -> int:
    """Return about how many bytes ``data`` packs to."""
    return len(zlib.compress(data, 6))


def _is_poor(plain: bytes, min_match: int) -> bool:
    size = len(plain)
    return size < min_match or (size < 4 * min_match and size - plain.count(0) > size // 2)
