"""The difference of two programs, their references predicted, where that packs better.

Matches are sought twice: in the files as they are, and with all references masked, so that code that only moved is
found whole. The second search is begun only where the first left something to win.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from imagedelta import leb128
from imagedelta.delta import byte_sums
from imagedelta.delta.content import Extent
from imagedelta.delta.encode.beside import Span
from imagedelta.delta.encode.drift import straighten
from imagedelta.delta.encode.file_diff import Difference, along, between
from imagedelta.delta.encode.likely_kinds import kinds_of_file, may_have_kinds
from imagedelta.delta.encode.likeness import is_unlike
from imagedelta.delta.encode.masking import masked
from imagedelta.delta.encode.matches import Match, matches
from imagedelta.delta.encode.unlike import without_unlike
from imagedelta.delta.encode.versions import Versions
from imagedelta.delta.encode.ways import FEW_BYTES, SAMPLE_BYTES, Way, packed_cost
from imagedelta.delta.predict import clr, differences
from imagedelta.delta.predict.bounds import LARGE, Bounds
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import MACHINE_CODE, Kind
from imagedelta.delta.predict.old import Predicted
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.delta.predict.spans import predicted_spans
from imagedelta.limits import KIB

_WORTH_A_SEARCH = 300
"""A difference that packs to less is taken as it is."""
_WORTH_A_MASK = 16
"""A difference of fewer controls lies on one line,"""
_WORTH_A_DOUBT = 2 * KIB
"""unless it packs to more than a byte per so many of a file: between files of one size no matches were sought."""
_WORTH_A_BYTE = 16 * KIB
"""A byte must be saved per so many of a file: predicting them takes a device a millisecond or two."""
_SMALL = 256 * KIB
"""A search in files of up to so many bytes takes no time."""
_SMALL_ASSEMBLY = 64 * KIB
"""Assemblies of up to so many bytes are searched twice, however unlike: it takes no time, and they gain most."""
_HARDLY_MASKED = 1000
"""Where fewer than one in so many bytes is masked, the file is data, whatever its kind."""
_LOSS = 6
"""What a control costs, in bytes of masked files that are not equal."""
_HARDLY_LARGER = 1.02
_WORTH_CHOOSING = 1000
"""Beyond it, kinds are tried with one more or less."""
MASK = Kind.CODE | Kind.ADDRESSES | Kind.TABLES | Kind.CLR | Kind.IMMEDIATES | Kind.AARCH64
"""What is masked where it is predicted; distances in data are too often none."""


def unlike_difference(old: bytes, new: bytes, min_match: int, bounds: Bounds = LARGE) -> Difference | None:
    """Return the difference of two programs that are hardly alike, its references predicted; None for other files.

    Matches are sought once, in masked files: what both were compiled from shows best there.
    """
    both = Versions(old, new)
    if len(new) < START_BYTES or not may_have_kinds(new) or not is_unlike(old, new):
        return None
    if not (kinds := kinds_of_file(both, bounds)):
        return None
    if kinds & Kind.CLR and len(new) <= _SMALL_ASSEMBLY:
        return None
    old_masked = masked(old, kinds & MASK, both.old_clr)
    new_masked = masked(new, kinds & MASK, both.new_clr)
    matched = masked_matches(old_masked, new_masked, min_match)
    alike = without_unlike(matched, between(old_masked, new_masked, matched, 1).difference)
    found = along(new, list(alike))
    if len(found.controls) > bounds.controls:
        return None
    tried = [(way, kinds) for way in _ways(found, both, kinds, bounds, FEW_BYTES)]
    as_it_is = Way(both, found, Controls(found.start, found.controls), Kind.NONE, FEW_BYTES)
    way, kinds = min([*tried, (as_it_is, Kind.NONE)], key=lambda one: one[0].cost(one[1]))
    return way.difference(_chosen(way, kinds, both))


def predicted_difference(
    plain: Difference, old: bytes, new: bytes, min_match: int, bounds: Bounds = LARGE
) -> Difference:
    """Return the difference that packs best: ``plain``, or one with references predicted."""
    both, plain_cost = Versions(old, new), packed_cost(plain)
    if plain_cost < _WORTH_A_SEARCH or len(new) < START_BYTES:
        return plain
    if kinds := kinds_of_file(both, bounds):
        way = _best_way(plain, plain_cost, both, kinds, min_match, bounds)
        if way and (plain_cost - way.cost(kinds)) * _WORTH_A_BYTE >= len(new):
            best = way.difference(_chosen(way, kinds, both))
            return _without_noise(best, both, bounds, way)
    return _without_noise(plain, both, bounds)


def _best_way(
    plain: Difference, plain_cost: int, both: Versions, kinds: Kind, min_match: int, bounds: Bounds
) -> Way | None:
    """Return the way along which predictions leave least; none where all have too many controls."""
    ways = list(_ways(plain, both, kinds, bounds))
    best = min(ways, key=lambda one: one.cost(kinds), default=None)
    if best and best.cost(kinds) < _WORTH_A_SEARCH:
        return best
    is_worth_it = len(plain.controls) >= _WORTH_A_MASK or len(both.new) <= max(_SMALL, plain_cost * _WORTH_A_DOUBT)
    if is_worth_it and (searched := _searched(plain, both, kinds, min_match)):
        ways += _ways(searched, both, kinds, bounds)
    return min(ways, key=lambda one: one.cost(kinds), default=None)


def _ways(
    found: Difference, both: Versions, kinds: Kind, bounds: Bounds, sample_bytes: int = SAMPLE_BYTES
) -> Iterator[Way]:
    """Yield the ways along the same matches."""
    if len(found.controls) <= bounds.controls:
        controls = Controls(found.start, found.controls)
        corrections = _corrections(both, controls.shifts) if kinds & Kind.CLR else ()
        for corrected in (corrections, ()) if corrections else ((),):
            yield Way(both, replace(found, corrections=corrected), controls, kinds, sample_bytes)


def _chosen(way: Way, kinds: Kind, both: Versions) -> Kind:
    """Return the kinds without those that cost more than they save, and with one that does so seldom."""
    cost = way.cost(kinds)
    tried = Kind.JUMPS | Kind.NUMBERS | Kind.ADDRESSES | kinds & Kind.TABLES
    if kinds & Kind.CODE:
        tried |= Kind.IMMEDIATES
    for kind in (Kind.IMMEDIATES, Kind.JUMPS, Kind.NUMBERS, Kind.ADDRESSES, Kind.TABLES):
        if tried & kind and kinds & MACHINE_CODE and (cost > _WORTH_CHOOSING or len(both.new) <= _SMALL):
            other = way.cost(kinds ^ kind)
            kinds, cost = min((kinds, cost), (kinds ^ kind, other), key=itemgetter(1))
    return kinds


def _without_noise(found: Difference, both: Versions, bounds: Bounds, way: Way | None = None) -> Difference:
    """Return the difference with new bytes where nothing is alike, if by itself it is hardly larger for it.

    Args:
        way: Along which references are predicted.
    """
    matched = [Match(*match) for match in Controls(found.start, found.controls).matches()]
    alike = list(without_unlike(matched, found.difference))
    if alike == matched:
        return found
    other = replace(between(both.old, both.new, alike, 1), corrections=found.corrections)
    if len(other.controls) > bounds.controls:
        return found
    if way:
        other = way.narrowed(other, found.kinds)
    return other if packed_cost(other) <= _HARDLY_LARGER * packed_cost(found) else found


def _searched(plain: Difference, both: Versions, kinds: Kind, min_match: int) -> Difference | None:
    """Return another choice of matches; in masked files, unless hardly a byte differs and nothing was sought yet.

    Returns:
        None where hardly anything is masked: the matches would be the same.
    """
    if len(plain.controls) == 1:
        return along(both.new, masked_matches(both.old, both.new, min_match))
    old_masked = masked(both.old, kinds & MASK, both.old_clr)
    new_masked = masked(both.new, kinds & MASK, both.new_clr)
    if not kinds & Kind.CLR and _differing(new_masked, both.new) * _HARDLY_MASKED < len(both.new):
        return None
    return along(both.new, masked_matches(old_masked, new_masked, min_match))


def _differing(one: bytes, other: bytes) -> int:
    return len(one) - byte_sums.subtract(one, other).count(0)


def masked_matches(old: bytes, new: bytes, min_match: int) -> list[Match]:
    """Return the matches of files, which may be masked."""
    return _alike(straighten(matches(old, new), old, new, _LOSS), old, new, min_match)


def _alike(found: Sequence[Match], old: bytes, new: bytes, min_match: int) -> list[Match]:
    """Return the matches of which most is equal in the masked files."""
    good = []
    for match in found:
        size = match.length
        ours, theirs = new[match.new : match.new + size], old[match.old : match.old + size]
        if size >= 4 * min_match or (size >= min_match and 2 * byte_sums.subtract(ours, theirs).count(0) >= size):
            good.append(match)
    return good


def spans_of(found: Difference, old: Extent, new: Extent) -> Iterator[Span]:
    """Yield the differences with what they are coded beside."""
    controls = Controls(found.start, found.controls)
    prediction = Prediction(found.kinds, found.corrections, old, controls)
    prediction.show(new.read_at(0, min(START_BYTES, new.size)))
    for match, _ in controls.steps():
        yield from _in_spans(prediction, match, new)


def _in_spans(prediction: Prediction, match: Stretch, new: Extent) -> Iterator[Span]:
    added, at = bytearray(), match.new

    def subtract(part: Predicted) -> None:
        nonlocal at
        added.extend(differences.subtract(new.read_at(at, len(part.data)), part))
        at += len(part.data)

    for span in predicted_spans(prediction, match, subtract):
        size = len(span.old)
        yield bytes(added[:size]), span
        del added[:size]


def _corrections(both: Versions, shifts: Shifts) -> tuple[int, ...]:
    old_file, new_file = both.old_clr, both.new_clr
    if old_file is None or new_file is None:
        return ()
    found = clr.corrections(old_file.metadata, new_file.metadata, shifts)
    while found and not found[-1]:
        found.pop()
    return tuple(found)


def prediction_numbers(found: Difference) -> bytes:
    """Return what a patch says of the predictions of a delta."""
    out = leb128.encode(found.kinds)
    if found.kinds & Kind.CLR:
        out += leb128.encode(len(found.corrections))
        out += b"".join(leb128.encode(leb128.zigzag(value)) for value in found.corrections)
    return out
