"""The differences of deltas, in the two ways in which a patch may have them: by themselves, or beside old bytes.

Source: docs/formats/patch.md, sections 4, 5 and 7a.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from imagedelta.delta import byte_sums
from imagedelta.delta.content import Extent
from imagedelta.delta.format.mixing import SPAN_BYTES, MixedDifferences, OldSpan
from imagedelta.delta.format.zero_runs import ZeroRuns
from imagedelta.delta.predict.prediction import Predicted, Prediction
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.delta.predict.spans import predicted_spans
from imagedelta.errors import ContentError


class Differences(Protocol):
    """The differences of one item."""

    def added(self, base: Extent | None, position: int, length: int) -> Iterator[bytes]:
        """Yield the next ``length`` bytes: those of the base from ``position`` on, and differences added to them.

        Args:
            base: None where the bytes are not needed, which then are not yielded.
        """
        ...

    def of_parts(self, prediction: Prediction, match: Stretch) -> Iterator[tuple[Predicted, bytes]]:
        """Yield each part of a match as it is predicted, with its differences."""
        ...

    def skip(self, length: int) -> None:
        """Pass by the next ``length`` of a predicted delta that is not needed."""
        ...

    def finish(self) -> None:
        """Check that none are left over at the end of the item."""
        ...


class PlainDifferences:
    """In a stream of their own, long runs of zeros in another."""

    def __init__(self, runs: ZeroRuns) -> None:
        self._runs = runs

    def added(self, base: Extent | None, position: int, length: int) -> Iterator[bytes]:
        """See ``Differences``."""
        for run in self._runs.take(length):
            if base and run.differences:
                yield byte_sums.add(base.read_at(position, run.length), run.differences)
            elif base:
                yield from base.pieces(position, run.length)
            position += run.length

    def of_parts(self, prediction: Prediction, match: Stretch) -> Iterator[tuple[Predicted, bytes]]:
        """See ``Differences``."""
        for part in prediction.parts(match):
            added = b"".join([run.differences or bytes(run.length) for run in self._runs.take(part.length)])
            yield prediction.predicted(part), added

    def skip(self, length: int) -> None:
        """See ``Differences``."""
        for _ in self._runs.take(length):
            pass

    def finish(self) -> None:
        """See ``Differences``."""
        self._runs.finish()


class DifferencesBesideOld:
    """Made beside the old bytes that they are added to, a match in spans; so these are always needed."""

    def __init__(self, mixed: MixedDifferences) -> None:
        self._mixed = mixed

    def added(self, base: Extent | None, position: int, length: int) -> Iterator[bytes]:
        """See ``Differences``."""
        if base is None:
            raise ContentError("a delta of no member")
        for at in range(position, position + length, SPAN_BYTES):
            old = base.read_at(at, min(SPAN_BYTES, position + length - at))
            yield byte_sums.add(old, self._mixed.beside(OldSpan(old)))

    def of_parts(self, prediction: Prediction, match: Stretch) -> Iterator[tuple[Predicted, bytes]]:
        """See ``Differences``: parts wait until their span is whole."""
        waiting: deque[Predicted] = deque()
        added = bytearray()
        for span in predicted_spans(prediction, match, waiting.append):
            added += self._mixed.beside(span)
            yield from _whole(waiting, added)
        yield from _whole(waiting, added)

    def skip(self, length: int) -> None:
        """See ``Differences``."""
        raise ContentError("a delta of no member")

    def finish(self) -> None:
        """A run of zeros may go on into the next item."""


def _whole(waiting: deque[Predicted], added: bytearray) -> Iterator[tuple[Predicted, bytes]]:
    """Yield the parts whose differences are there."""
    while waiting and len(waiting[0].data) <= len(added):
        part = waiting.popleft()
        size = len(part.data)
        yield part, bytes(added[:size])
        del added[:size]
