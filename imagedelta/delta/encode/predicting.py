"""The difference of two programs, their references predicted, where that packs better.

Matches are sought twice: in the files as they are, and with all references masked, so that code that only moved is
found whole. The second search is begun only where the first left something to win.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from imagedelta import leb128
from imagedelta.delta import byte_sums
from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.beside import Span
from imagedelta.delta.encode.drift import straighten
from imagedelta.delta.encode.file_diff import Difference, between, packed_bytes
from imagedelta.delta.encode.masking import masked
from imagedelta.delta.encode.matches import Match, matches
from imagedelta.delta.encode.unlike import without_unlike
from imagedelta.delta.encode.versions import Versions
from imagedelta.delta.format import zero_runs
from imagedelta.delta.predict import clr, differences
from imagedelta.delta.predict.bounds import LARGE, Bounds
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.kinds import MACHINE_CODE, Kind
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.prediction import START_BYTES, Predicted, Prediction
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
_CONTROL_BYTES = 4
_LOSS = 6
"""What a control costs, in bytes of masked files that are not equal."""
_HARDLY_LARGER = 1.02
_WORTH_CHOOSING = 1000
"""Beyond it, kinds are tried with one more or less."""
_ELF_X86_64, _ELF_AARCH64 = 62, 183
_PE_BYTECODE = 0x14C
_PE_AARCH64 = tuple(0xAA64 ^ system for system in (0, 0x7B79, 0x4644, 0xADC4, 0x1993))
"""What .NET calls a machine has the system (Windows, Linux, macOS, FreeBSD, NetBSD) in it."""
_FIXED_ADDRESS = 2
_ELF = Kind.ADDRESSES | Kind.TABLES | Kind.JUMPS | Kind.NUMBERS
MASK = Kind.CODE | Kind.ADDRESSES | Kind.TABLES | Kind.CLR | Kind.IMMEDIATES | Kind.AARCH64
"""What is masked where it is predicted; distances in data are too often none."""
_PE = Kind.JUMPS | Kind.NUMBERS


def predicted_difference(
    plain: Difference, old: bytes, new: bytes, min_match: int, bounds: Bounds = LARGE
) -> Difference:
    """Return the difference that packs best: ``plain``, or one with references predicted."""
    best, cost = plain, _cost(plain)
    if cost < _WORTH_A_SEARCH or len(new) < START_BYTES:
        return plain
    both = Versions(old, new)
    for kinds in _fitting(_kinds(both), bounds, len(old), len(new)):
        best, cost = _tried(plain, both, kinds, min_match, bounds, (best, cost))
    if (_cost(plain) - cost) * _WORTH_A_BYTE < len(new):
        return _without_noise(plain, both, bounds)
    return _without_noise(_chosen(best, cost, both, bounds), both, bounds)


def _tried(
    plain: Difference, both: Versions, kinds: Kind, min_match: int, bounds: Bounds, best: tuple[Difference, int]
) -> tuple[Difference, int]:
    """Return the better of ``best`` and what references of these kinds make, and its cost."""
    ways = [plain]
    if len(plain.controls) >= _WORTH_A_MASK or len(both.new) <= max(_SMALL, _cost(plain) * _WORTH_A_DOUBT):
        ways.append(_masked_way(both, kinds, min_match))
    for way in ways:
        if len(way.controls) <= bounds.controls:
            corrections = _corrections(both, way) if kinds & Kind.CLR else ()
            for corrected in (corrections, ()) if corrections else ((),):
                found = _predicted(replace(way, corrections=corrected), both, kinds)
                best = min(best, (found, _cost(found)), key=itemgetter(1))
    return best


def _cost(found: Difference) -> int:
    """Return about how many bytes a difference packs to, its runs of zeros cut short."""
    dense, zeros = zero_runs.shorten(found.difference, zero_runs.SHORT_RUN)
    return sum(map(packed_bytes, (dense, zeros, found.extra))) + _CONTROL_BYTES * len(found.controls)


def program_kinds(old: Extent, new: Extent, bounds: Bounds) -> Kind:
    """Return the kinds of an ELF program; none for other files, or where the old one is much larger."""
    starts = [file.read_at(0, min(START_BYTES, file.size)) for file in (old, new)]
    found = _elf_kinds(starts[1]) if all(map(read_elf, starts)) else []
    return next(iter(_fitting(found, bounds, old.size, new.size)), Kind.NONE)


def _fitting(found: Iterable[Kind], bounds: Bounds, old_size: int, new_size: int) -> list[Kind]:
    """Return the sets of kinds that are within bounds; without tables where only these are too large."""
    tried = ((kinds, kinds & ~Kind.TABLES) for kinds in found)
    fitting = (next((one for one in some if bounds.allow(one, new_size, old_size)), Kind.NONE) for some in tried)
    return [kinds for kinds in fitting if kinds]


def _kinds(both: Versions) -> list[Kind]:
    """Return the sets of kinds that are worth trying for a file."""
    old, new = both.old, both.new
    if read_elf(old[:START_BYTES]) and read_elf(new[:START_BYTES]):
        return _elf_kinds(new)
    found = [Kind.CLR] if both.old_clr and both.new_clr else []
    if read_pe(old[:START_BYTES]) and read_pe(new[:START_BYTES]) and (code := _pe_code(new)):
        found += [kinds | code | _PE for kinds in found or [Kind.NONE]]
    return found


def _elf_kinds(new: bytes) -> list[Kind]:
    machine = int.from_bytes(new[18:20], "little")
    if machine == _ELF_AARCH64:
        return [_ELF | Kind.AARCH64]
    if machine == _ELF_X86_64:
        return [_ELF | Kind.CODE | (Kind.IMMEDIATES if new[16] == _FIXED_ADDRESS else Kind.NONE)]
    return []


def _pe_code(data: bytes) -> Kind:
    """Return the kind of the machine code in a PE file; none where there is only bytecode."""
    header = int.from_bytes(data[60:64], "little")
    machine = int.from_bytes(data[header + 4 : header + 6], "little")
    if machine == _PE_BYTECODE:
        return Kind.NONE
    return Kind.AARCH64 if machine in _PE_AARCH64 else Kind.CODE


def _chosen(best: Difference, cost: int, both: Versions, bounds: Bounds) -> Difference:
    """Return the difference without the kinds that cost more than they save, and with one that does so seldom."""
    for kind in (Kind.IMMEDIATES, Kind.JUMPS, Kind.NUMBERS, Kind.ADDRESSES, Kind.TABLES):
        kinds = best.kinds ^ kind
        if not bounds.allow(kinds, len(both.new), len(both.old)):
            continue
        if best.kinds & MACHINE_CODE and (cost > _WORTH_CHOOSING or len(both.new) <= _SMALL):
            other = _predicted(best, both, kinds)
            best, cost = min((best, cost), (other, _cost(other)), key=itemgetter(1))
    return best


def _without_noise(found: Difference, both: Versions, bounds: Bounds) -> Difference:
    """Return the difference with new bytes where nothing is alike, if by itself it is hardly larger for it."""
    matched = [Match(*match) for match in Controls(found.start, found.controls).matches()]
    alike = list(without_unlike(matched, found.difference))
    if alike == matched:
        return found
    way = replace(between(both.old, both.new, alike, 1), corrections=found.corrections)
    if len(way.controls) > bounds.controls:
        return found
    other = _predicted(way, both, found.kinds) if found.kinds else way
    return other if _cost(other) <= _HARDLY_LARGER * _cost(found) else found


def _masked_way(both: Versions, kinds: Kind, min_match: int) -> Difference:
    old_masked = masked(both.old, kinds & MASK, both.old_clr)
    new_masked = masked(both.new, kinds & MASK, both.new_clr)
    return between(both.old, both.new, masked_matches(old_masked, new_masked, min_match), 1)


def masked_matches(old: bytes, new: bytes, min_match: int) -> list[Match]:
    """Return the matches of masked files."""
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


def _predicted(way: Difference, both: Versions, kinds: Kind) -> Difference:
    """Return the difference along the same matches from what the references are predicted to be."""
    controls = Controls(way.start, way.controls)
    old, new = Extent(BytesReader(both.old), 0, len(both.old)), both.new
    prediction = Prediction(kinds, way.corrections, old, controls, both.old_clr if kinds & Kind.CLR else None)
    prediction.show(new[:START_BYTES])
    out = bytearray()
    for match, _ in controls.steps():
        at = match.new
        for part in prediction.parts(match):
            out += differences.subtract(new[at : at + part.length], prediction.predicted(part))
            at += part.length
    return replace(way, difference=bytes(out), kinds=kinds)


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


def _corrections(both: Versions, way: Difference) -> tuple[int, ...]:
    old_file, new_file = both.old_clr, both.new_clr
    if old_file is None or new_file is None:
        return ()
    shifts = Shifts(Controls(way.start, way.controls).matches())
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
