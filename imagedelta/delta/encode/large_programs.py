"""A large program as one delta: matches are sought window by window, references are predicted over the whole file.

What a window's code refers to lies in others, so its references can be predicted only by the controls of all. Neither
file is in memory as a whole: a window of it is, and what a prediction keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from imagedelta.delta.content import Extent, in_blocks
from imagedelta.delta.encode.file_diff import Difference, controls_of, packed_bytes
from imagedelta.delta.encode.groups import Place, differences_of, places_of
from imagedelta.delta.encode.likely_kinds import kinds_of_program
from imagedelta.delta.encode.masking import ProgramMask
from imagedelta.delta.encode.matches import Match
from imagedelta.delta.encode.predicting import MASK, masked_matches
from imagedelta.delta.encode.windows import Windows
from imagedelta.delta.format.zero_runs import SHORT_RUN, Shortening
from imagedelta.delta.predict.bounds import Bounds
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.limits import MIB

MASKED_WHOLE_BYTES = 128 * MIB
"""Masked forms of larger files are made range by range: addresses of what is not in the range do not tell it then."""
_BLOCK_BYTES, _BLOCKS = 4 * MIB, 8
_SAMPLED = 4
"""One in so many parts of data says whether distances in it are predicted."""


@dataclass(frozen=True, slots=True)
class LargeDelta:
    """A difference whose runs of zeros are cut short already."""

    way: Difference
    """Without the differences."""
    dense: bytes
    zeros: bytes


def large_delta(
    old: Extent, new: Extent, windows: Windows, count: int, min_match: int, bounds: Bounds
) -> LargeDelta | None:
    """Return how to make one version of a program of another, its references predicted.

    Args:
        count: Of windows.

    Returns:
        None where they are no programs, or too little alike.
    """
    old, new = in_blocks(old, _BLOCK_BYTES, _BLOCKS), in_blocks(new, _BLOCK_BYTES, _BLOCKS)
    kinds = kinds_of_program(old, new, bounds)
    if not kinds:
        return None
    found = list(_matches(old, new, windows, count, kinds, min_match))
    controls, gaps = controls_of(found, new.size)
    if len(controls) > bounds.controls:
        return None
    extra = b"".join(new.read_at(start, length) for start, length in gaps)
    way = Difference(found[0].old if found else 0, controls, b"", extra, kinds)
    all_of_it = Controls(way.start, controls)
    prediction = Prediction(kinds, (), old, all_of_it)
    prediction.show(new.read_at(0, min(START_BYTES, new.size)))
    fewer = prediction.with_kinds(kinds & ~Kind.JUMPS)
    if _cost_of_data(fewer, all_of_it, new) <= _cost_of_data(prediction, all_of_it, new):
        prediction, way = fewer, replace(way, kinds=kinds & ~Kind.JUMPS)
    runs = Shortening(SHORT_RUN)
    for piece in differences_of(prediction, places_of(prediction, all_of_it.matches()), new):
        runs.add(piece)
    return LargeDelta(way, *runs.finish())


def _matches(old: Extent, new: Extent, windows: Windows, count: int, kinds: Kind, min_match: int) -> Iterator[Match]:
    """Yield the matches of all windows, as places of the whole files."""
    old_masks, new_masks = _Masks(old, kinds), _Masks(new, kinds)
    for number in range(count):
        place = windows.window(number)
        if new.read_at(place.at, place.size) == _at(old, place.place, place.size):
            yield Match(place.place, place.at, place.size)
        elif place.start < place.end:
            old_part = old_masks.masked(place.start, place.end)
            new_part = new_masks.masked(place.at, place.at + place.size)
            for match in masked_matches(old_part, new_part, min_match):
                yield Match(match.old + place.start, match.new + place.at, match.length)


def _at(file: Extent, start: int, size: int) -> bytes:
    return file.read_at(start, max(0, min(size, file.size - start)))


class _Masks:
    """A file, masked."""

    def __init__(self, file: Extent, kinds: Kind) -> None:
        self._file, self._kinds = file, kinds

    def masked(self, start: int, end: int) -> bytes:
        """Return a range of it."""
        if self._file.size <= MASKED_WHOLE_BYTES:
            return self._whole[start:end]
        return self._mask.masked(start, end)

    @cached_property
    def _whole(self) -> bytes:
        return self._mask.masked(0, self._file.size)

    @cached_property
    def _mask(self) -> ProgramMask:
        return ProgramMask(self._file, self._kinds & MASK)


def _cost_of_data(prediction: Prediction, controls: Controls, new: Extent) -> int:
    """Return about how many bytes differences in data pack to, of the parts that are looked at."""
    data = filter(_is_data, places_of(prediction, controls.matches()))
    runs = Shortening(SHORT_RUN)
    for piece in differences_of(prediction, islice(data, _SAMPLED - 1, None, _SAMPLED), new):
        runs.add(piece)
    return sum(map(packed_bytes, runs.finish()))


def _is_data(place: Place) -> bool:
    _, (_, _, _, run, table) = place
    return bool(run and run.segment and not run.segment.executable and not table)
