"""A way to make a file of another: its matches, and what is left of it when references along them are predicted.

What does not depend on the kinds of references is made once for all of them. What a kind costs is told of long files
by a sample, and only where there are references of it: in code, in data, or in tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.file_diff import CONTROL_BYTES, Difference, packed_bytes
from imagedelta.delta.encode.groups import Group, Place, differences_of, grouped, places_of
from imagedelta.delta.encode.versions import Versions
from imagedelta.delta.format import zero_runs
from imagedelta.delta.predict import differences
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.old import Part, Predicted
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.limits import KIB, MIB

SAMPLE_BYTES, FEW_BYTES = 2 * MIB, 64 * KIB
"""About so much of a file is looked at to tell what a kind costs: of every so many blocks one."""
_BLOCK_BYTES, _LEAST_BLOCKS = 16 * KIB, 8
"""Blocks are smaller where there would be fewer of them."""
_CODE = Kind.CODE | Kind.AARCH64 | Kind.IMMEDIATES
_DATA = Kind.ADDRESSES | Kind.JUMPS


class Way:
    """The matches of a file, to be predicted."""

    def __init__(
        self, both: Versions, found: Difference, controls: Controls, kinds: Kind, sample_bytes: int = SAMPLE_BYTES
    ) -> None:
        """Args:
        found: Its matches, new bytes and corrections; its differences are not looked at.
        controls: Its own.
        kinds: The most that are predicted along it.
        sample_bytes: How much of the file is looked at, about.
        """
        self._both, self._found, self._kinds = both, found, kinds
        self._controls = controls
        old = Extent(BytesReader(both.old), 0, len(both.old))
        self._new = Extent(BytesReader(both.new), 0, len(both.new))
        known = both.old_clr if kinds & Kind.CLR else None
        self._prediction = Prediction(kinds, found.corrections, old, self._controls, known)
        self._prediction.show(both.new[:START_BYTES])
        self._one_in = -(-len(both.new) // sample_bytes)
        self._block_bytes = min(_BLOCK_BYTES, sample_bytes // _LEAST_BLOCKS)
        self._is_exact = self._one_in == 1 and sample_bytes == SAMPLE_BYTES
        self._made: dict[Kind, Difference] = {}
        self._costs: dict[Kind, int] = {}
        self._packed_parts: dict[tuple[Kind, Kind], int] = {}
        self._predicted: dict[tuple[Kind, Kind], list[Predicted]] = {}
        self._fixed_cost = packed_bytes(found.extra) + CONTROL_BYTES * len(found.controls)

    @property
    def controls(self) -> int:
        """How many it has."""
        return len(self._controls)

    def cost(self, kinds: Kind) -> int:
        """Return about how many bytes the difference packs to; of a sample larger than the file, just so many."""
        if kinds not in self._costs:
            self._costs[kinds] = self._fixed_cost + self._left(kinds)
        return self._costs[kinds]

    def difference(self, kinds: Kind) -> Difference:
        """Return the difference from what the references of these kinds are predicted to be."""
        if kinds not in self._made:
            same_parts = self._one_in == 1 and not (kinds ^ self._kinds) & Kind.TABLES
            made = self._known(kinds) if same_parts else self._differences(kinds, self._controls.matches())
            self._made[kinds] = replace(self._found, difference=made, kinds=kinds)
        return self._made[kinds]

    def narrowed(self, found: Difference, kinds: Kind) -> Difference:
        """Return the difference along other matches, most of which are also of this way."""
        controls = Controls(found.start, found.controls)
        if not controls.shifts.equals(self._controls.shifts):
            return Way(self._both, found, controls, kinds).difference(kinds)
        known, at = {}, 0
        for match in self._controls.matches():
            known[match] = at
            at += match.length
        made, out = self.difference(kinds).difference, bytearray()
        for match in controls.matches():
            if match in known:
                out += made[known[match] : known[match] + match.length]
            else:
                out += self._differences(kinds, [match])
        return replace(found, difference=bytes(out), kinds=kinds)

    @cached_property
    def _groups(self) -> dict[Kind, list[Group]]:
        """The parts that are looked at, by the kinds that are sought in them."""
        matches: Iterable[Stretch] = self._controls.matches()
        places: dict[Kind, list[Place]] = {}
        if self._one_in > 1:
            matches = _sampled(matches, self._one_in, self._block_bytes)
        for place in places_of(self._prediction, matches):
            places.setdefault(_sought_in(place.part), []).append(place)
        return {sought: list(grouped(found)) for sought, found in places.items()}

    def _left(self, kinds: Kind) -> int:
        if self._is_exact:
            return _packed(self.difference(kinds).difference)
        return self._one_in * sum(self._packed_in(sought, kinds) for sought in self._groups)

    def _packed_in(self, sought: Kind, kinds: Kind) -> int:
        case = sought, kinds & (sought | Kind.NUMBERS)
        if case not in self._packed_parts:
            self._packed_parts[case] = _packed(b"".join(self._differences_in(sought, kinds)))
        return self._packed_parts[case]

    def _differences_in(self, sought: Kind, kinds: Kind) -> Iterator[bytes]:
        """Yield the differences of the groups in which some kinds are sought."""
        are_whole = bool(kinds & Kind.NUMBERS)
        for group, (data, words, longs, _) in zip(self._groups[sought], self._predicted_in(sought, kinds), strict=True):
            yield differences.subtract(group.new_bytes(self._new), Predicted(data, words, longs, are_whole))

    def _predicted_in(self, sought: Kind, kinds: Kind) -> list[Predicted]:
        case = sought, kinds & sought
        if case not in self._predicted:
            as_it_is = sought == Kind.TABLES and (kinds ^ self._kinds) & Kind.TABLES
            prediction = self._prediction.with_kinds(kinds)
            self._predicted[case] = [
                prediction.together(_unpredicted(group.parts) if as_it_is else group.parts)
                for group in self._groups[sought]
            ]
        return self._predicted[case]

    def _known(self, kinds: Kind) -> bytes:
        """Return the differences of a file all of which is looked at."""
        made: dict[int, bytes] = {}
        for sought, groups in self._groups.items():
            for group, data in zip(groups, self._differences_in(sought, kinds), strict=True):
                made.update(group.cut(data))
        return b"".join(made[at] for at in sorted(made))

    def _differences(self, kinds: Kind, matches: Iterable[Stretch]) -> bytes:
        prediction = self._prediction.with_kinds(kinds)
        return b"".join(differences_of(prediction, places_of(prediction, matches), self._new))


def _unpredicted(parts: Iterable[Part]) -> list[Part]:
    return [part._replace(predicted=False) for part in parts]


def _sought_in(part: Part) -> Kind:
    """Return which kinds change what is predicted for a part."""
    if part.table:
        return Kind.TABLES
    if part.run and part.run.segment:
        return _CODE if part.run.segment.executable else _DATA
    return Kind.NONE


def _sampled(matches: Iterable[Stretch], one_in: int, block_bytes: int) -> Iterator[Stretch]:
    """Yield what matches have of one in so many blocks of the new file."""
    for old, new, length in matches:
        for block in range(new // block_bytes, -(-(new + length) // block_bytes)):
            if block % one_in == 0:
                start = max(new, block * block_bytes)
                end = min(new + length, (block + 1) * block_bytes)
                yield Stretch(old + start - new, start, end - start)


def packed_cost(found: Difference) -> int:
    """Return about how many bytes a difference packs to, its runs of zeros cut short."""
    return _packed(found.difference) + packed_bytes(found.extra) + CONTROL_BYTES * len(found.controls)


def _packed(differences: bytes) -> int:
    return sum(map(packed_bytes, zero_runs.shorten(differences, zero_runs.SHORT_RUN)))
