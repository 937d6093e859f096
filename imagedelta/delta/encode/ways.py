"""A way to make a file of another: its matches, and what is left of it when references along them are predicted.

What does not depend on the kinds of references is made once for all of them. What a kind costs is told of long files
by a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.file_diff import CONTROL_BYTES, Difference, packed_bytes
from imagedelta.delta.encode.versions import Versions
from imagedelta.delta.format import zero_runs
from imagedelta.delta.predict import differences
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.limits import KIB, MIB

SAMPLE_BYTES = 2 * MIB
"""Up to half as much again of a file is looked at to tell what a kind costs: of every so many blocks one."""
_BLOCK_BYTES = 64 * KIB


class Way:
    """The matches of a file, to be predicted."""

    def __init__(self, both: Versions, found: Difference, kinds: Kind) -> None:
        """Args:
        found: Its matches, new bytes and corrections; its differences are not looked at.
        kinds: The most that are predicted along it.
        """
        self._both, self._found = both, found
        self._controls = Controls(found.start, found.controls)
        old = Extent(BytesReader(both.old), 0, len(both.old))
        known = both.old_clr if kinds & Kind.CLR else None
        self._prediction = Prediction(kinds, found.corrections, old, self._controls, known)
        self._prediction.show(both.new[:START_BYTES])
        self._one_in = -(-len(both.new) // SAMPLE_BYTES)
        self._made: dict[Kind, Difference] = {}
        self._costs: dict[Kind, int] = {}
        self._fixed_cost = packed_bytes(found.extra) + CONTROL_BYTES * len(found.controls)

    @property
    def controls(self) -> int:
        """How many it has."""
        return len(self._controls)

    def cost(self, kinds: Kind) -> int:
        """Return about how many bytes the difference packs to."""
        if kinds not in self._costs:
            self._costs[kinds] = self._cost(kinds)
        return self._costs[kinds]

    def difference(self, kinds: Kind) -> Difference:
        """Return the difference from what the references of these kinds are predicted to be."""
        if kinds not in self._made:
            made = self._differences(kinds, self._controls.matches())
            self._made[kinds] = replace(self._found, difference=made, kinds=kinds)
        return self._made[kinds]

    def narrowed(self, found: Difference, kinds: Kind) -> Difference:
        """Return the difference along other matches, most of which are also of this way."""
        controls = Controls(found.start, found.controls)
        if not Shifts(controls.matches()).equals(self._prediction.shifts):
            return Way(self._both, found, kinds).difference(kinds)
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

    def _cost(self, kinds: Kind) -> int:
        if self._one_in == 1:
            return packed_cost(self.difference(kinds))
        sampled = self._differences(kinds, _sampled(self._controls.matches(), self._one_in))
        return self._fixed_cost + self._one_in * _packed(sampled)

    def _differences(self, kinds: Kind, matches: Iterable[Stretch]) -> bytes:
        prediction, new = self._prediction.with_kinds(kinds), self._both.new
        out = bytearray()
        for match in matches:
            at = match.new
            for part in prediction.parts(match):
                out += differences.subtract(new[at : at + part.length], prediction.predicted(part))
                at += part.length
        return bytes(out)


def _sampled(matches: Iterable[Stretch], one_in: int) -> Iterator[Stretch]:
    """Yield what matches have of one in so many blocks of the new file."""
    for old, new, length in matches:
        for block in range(new // _BLOCK_BYTES, -(-(new + length) // _BLOCK_BYTES)):
            if block % one_in == 0:
                start = max(new, block * _BLOCK_BYTES)
                end = min(new + length, (block + 1) * _BLOCK_BYTES)
                yield Stretch(old + start - new, start, end - start)


def packed_cost(found: Difference) -> int:
    """Return about how many bytes a difference packs to, its runs of zeros cut short."""
    return _packed(found.difference) + packed_bytes(found.extra) + CONTROL_BYTES * len(found.controls)


def _packed(differences: bytes) -> int:
    return sum(map(packed_bytes, zero_runs.shorten(differences, zero_runs.SHORT_RUN)))
