"""The differences of deltas, in the two ways in which a patch may have them: by themselves, or beside old bytes.

Source: docs/formats/patch.md, sections 4, 5 and 7a.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from imagedelta.delta.byte_sums import PIECE_BYTES
from imagedelta.delta.decode.batch import Batch
from imagedelta.delta.format.mixing import MixedDifferences
from imagedelta.delta.format.tape import Tape
from imagedelta.delta.format.zero_runs import ZeroRuns
from imagedelta.delta.predict import differences as numbers
from imagedelta.delta.predict.old import Old, Predicted
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.delta.predict.spans import predicted_spans
from imagedelta.errors import ContentError

Steps = Iterable[tuple[Stretch, int]]
"""Matches of a delta, and how many extra bytes follow each."""


class Differences(Protocol):
    """The differences of one item."""

    def made(self, old: Old, steps: Steps, extra: Tape) -> Iterator[bytes]:
        """Yield what a delta makes, in pieces of at most ``PIECE_BYTES``."""
        ...

    def skip(self, length: int) -> None:
        """Pass by the next ``length`` of a delta that is not needed."""
        ...

    def finish(self) -> None:
        """Check that none are left over at the end of the item."""
        ...


class PlainDifferences:
    """In a stream of their own, long runs of zeros in another."""

    def __init__(self, runs: ZeroRuns) -> None:
        self._runs = runs

    def made(self, old: Old, steps: Steps, extra: Tape) -> Iterator[bytes]:
        """See ``Differences``."""
        batch = Batch(old, self._runs, extra)
        for match, extra_bytes in steps:
            for part in old.parts(match):
                while not batch.add(part):
                    yield batch.make()
                if old.waits:
                    yield batch.make()
            for size in sizes(extra_bytes):
                while not batch.add_extra(size):
                    yield batch.make()
                if old.waits:
                    yield batch.make()
        yield batch.make()

    def skip(self, length: int) -> None:
        """See ``Differences``."""
        for size in sizes(length):
            self._runs.read(size)

    def finish(self) -> None:
        """See ``Differences``."""
        self._runs.finish()


class DifferencesBesideOld:
    """Made beside the old bytes that they are added to, a match in spans; so these are always needed."""

    def __init__(self, mixed: MixedDifferences) -> None:
        self._mixed = mixed

    def made(self, old: Old, steps: Steps, extra: Tape) -> Iterator[bytes]:
        """See ``Differences``."""
        for match, extra_bytes in steps:
            for part, added in self._of_parts(old, match):
                data = numbers.add(part, added)
                old.show(data)
                yield data
            for size in sizes(extra_bytes):
                data = extra.read(size)
                old.show(data)
                yield data

    def skip(self, length: int) -> None:
        """See ``Differences``."""
        raise ContentError("a delta of no member")

    def finish(self) -> None:
        """A run of zeros may go on into the next item."""

    def _of_parts(self, old: Old, match: Stretch) -> Iterator[tuple[Predicted, bytes]]:
        """Yield each part of a match with its differences, as soon as its span is whole."""
        waiting: deque[Predicted] = deque()
        added = bytearray()
        for span in predicted_spans(old, match, waiting.append):
            added += self._mixed.beside(span)
            yield from _whole(waiting, added)
        yield from _whole(waiting, added)


def _whole(waiting: deque[Predicted], added: bytearray) -> Iterator[tuple[Predicted, bytes]]:
    """Yield the parts whose differences are there."""
    while waiting and len(waiting[0].data) <= len(added):
        part = waiting.popleft()
        size = len(part.data)
        yield part, bytes(added[:size])
        del added[:size]


def sizes(length: int) -> Iterable[int]:
    """Return the sizes of the pieces in which so many bytes are read."""
    if length <= PIECE_BYTES:  # as nearly all are
        return (length,) if length > 0 else ()
    return (min(PIECE_BYTES, length - at) for at in range(0, length, PIECE_BYTES))
