"""The differences of deltas, in the two ways in which a patch may have them: by themselves, or beside old bytes.

Source: docs/formats/patch.md, sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from imagedelta.delta import byte_sums
from imagedelta.delta.content import Extent
from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.format.mixing import SPAN_BYTES, MixedDifferences
from imagedelta.delta.format.roles import Role
from imagedelta.delta.format.zero_runs import ZeroRuns
from imagedelta.errors import ContentError


class Differences(Protocol):
    """The differences of one item."""

    def added(self, base: Extent | None, position: int, length: int) -> Iterator[bytes]:
        """Yield the next ``length`` bytes: those of the base from ``position`` on, and differences added to them.

        Args:
            base: None where the bytes are not needed, which then are not yielded.
        """
        ...

    def finish(self) -> None:
        """Check that none are left over at the end of the item."""
        ...


class DifferenceStream(Protocol):
    """The differences of a patch."""

    @property
    def needs_old(self) -> bool:
        """Whether old bytes are needed even where the bytes that are made are not."""
        ...

    def of_item(self) -> Differences:
        """Return those of the next item."""
        ...

    def finish(self) -> None:
        """Check that all were used."""
        ...


class PlainStream:
    """Differences in a stream of their own, long runs of zeros in another."""

    needs_old = False

    def __init__(self, tapes: Mapping[Role, StreamTape]) -> None:
        self._tapes = tapes

    def of_item(self) -> Differences:
        """See ``DifferenceStream``."""
        return _Plain(ZeroRuns(self._tapes[Role.DIFF], self._tapes[Role.ZEROS]))

    def finish(self) -> None:
        """The tapes are checked with all others."""


class _Plain:
    def __init__(self, runs: ZeroRuns) -> None:
        self._runs = runs

    def added(self, base: Extent | None, position: int, length: int) -> Iterator[bytes]:
        for run in self._runs.take(length):
            if base and run.differences:
                yield byte_sums.add(base.read_at(position, run.length), run.differences)
            elif base:
                yield from base.pieces(position, run.length)
            position += run.length

    def finish(self) -> None:
        self._runs.finish()


class MixedStream:
    """Differences that are coded beside the old bytes: a match in spans, from its start on."""

    needs_old = True

    def __init__(self, mixed: MixedDifferences) -> None:
        self._mixed = mixed

    def of_item(self) -> Differences:
        """See ``DifferenceStream``."""
        return _Mixed(self._mixed)

    def finish(self) -> None:
        """See ``DifferenceStream``."""
        self._mixed.finish()


class _Mixed:
    def __init__(self, mixed: MixedDifferences) -> None:
        self._mixed = mixed

    def added(self, base: Extent | None, position: int, length: int) -> Iterator[bytes]:
        if base is None:
            raise ContentError("a delta of no member")
        for at in range(position, position + length, SPAN_BYTES):
            old = base.read_at(at, min(SPAN_BYTES, position + length - at))
            yield byte_sums.add(old, self._mixed.beside(old))

    def finish(self) -> None:
        """A run of zeros may go on into the next item."""
