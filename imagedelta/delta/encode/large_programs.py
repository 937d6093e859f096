"""A large program as one delta: matches are sought window by window, references are predicted over the whole file.

What a window's code refers to lies in others, so its references can be predicted only by the controls of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from imagedelta.delta.encode.drift import straighten
from imagedelta.delta.encode.file_diff import Difference, between
from imagedelta.delta.encode.masking import masked
from imagedelta.delta.encode.matches import Match, matches
from imagedelta.delta.encode.predicting import MASK, alike, best_of, program_kinds
from imagedelta.delta.encode.windows import Windows
from imagedelta.delta.predict.bounds import Bounds
from imagedelta.delta.predict.kinds import Kind
from imagedelta.limits import MIB

LARGEST_BYTES = 128 * MIB
"""The files are in memory, and their masked forms."""
COPIES = 4

Search = Callable[[bytes, bytes], list[Match]]


def large_difference(
    old: bytes, new: bytes, windows: Windows, count: int, min_match: int, bounds: Bounds
) -> Difference | None:
    """Return the difference of two versions of a program, its references predicted; None where they are no programs.

    Args:
        count: Of windows.
    """
    kinds = program_kinds(old, new, bounds)
    if not kinds:
        return None

    way = _masked_way(old, new, windows, count, kinds, min_match)
    return best_of(way, old, new, (kinds & ~Kind.JUMPS, kinds), bounds)


def _masked_way(old: bytes, new: bytes, windows: Windows, count: int, kinds: Kind, min_match: int) -> Difference:
    old_masked, new_masked = masked(old, kinds & MASK), masked(new, kinds & MASK)

    def straight(old_part: bytes, new_part: bytes) -> list[Match]:
        return straighten(matches(old_part, new_part), old_part, new_part)

    found = list(_by_window(old_masked, new_masked, windows, count, straight))
    return between(old, new, alike(found, old_masked, new_masked, min_match), 1)


def _by_window(old: bytes, new: bytes, windows: Windows, count: int, search: Search) -> Iterator[Match]:
    """Yield the matches of all windows, as places of the whole files."""
    for number in range(count):
        place = windows.window(number)
        new_part, old_part = new[place.at : place.at + place.size], old[place.start : place.end]
        expected = place.place - place.start
        if old_part[expected : expected + place.size] == new_part:
            yield Match(place.place, place.at, place.size)
        elif old_part:
            for match in search(old_part, new_part):
                yield Match(match.old + place.start, match.new + place.at, match.length)
