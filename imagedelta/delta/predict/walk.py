"""One predicted delta as both sides walk it: matches, their old bytes predicted, and the start of what was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagedelta.delta.content import Extent
from imagedelta.delta.predict.prediction import MAX_BYTES, START_BYTES, Kind, References, predicted, references
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.errors import LimitExceeded, UnsupportedFormat


def kind_of(number: int) -> Kind:
    """Return the kind of a number in a patch.

    Raises:
        UnsupportedFormat: This version does not know it.
    """
    try:
        return Kind(number)
    except ValueError:
        raise UnsupportedFormat(f"patch delta predicted as kind {number}") from None


def check_predictable(length: int, base: Extent | None) -> None:
    """Refuse what would take a device more work or memory than it is worth.

    Raises:
        LimitExceeded: The item or its base is too large.
    """
    if max(length, base.size if base else 0) > MAX_BYTES:
        raise LimitExceeded(f"a predicted delta of more than {MAX_BYTES} bytes")


class PredictedWalk:
    """The matches of one item."""

    def __init__(
        self, kind: Kind, start: int, controls: Sequence[tuple[int, int, int]], base: Extent | None
    ) -> None:
        self._kind, self._start, self._controls, self._base = kind, start, controls, base
        self._new_start = b""
        self._references: References | None = None
        self._asked = False

    def steps(self) -> Iterator[tuple[Stretch, int]]:
        """Yield each match, and the extra bytes after it."""
        old, new = self._start, 0
        for same, extra, seek in self._controls:
            yield Stretch(old, new, same), extra
            old += same + seek
            new += same + extra

    def made(self, data: bytes) -> bytes:
        """Take the next bytes of the new file, and return them."""
        if len(self._new_start) < START_BYTES:
            self._new_start += data[: START_BYTES - len(self._new_start)]
        return data

    def old(self, part: Stretch, *, predict: bool) -> bytes:
        """Return the old bytes of a part, predicted where they may be: all before it was made."""
        assert self._base is not None  # noqa: S101 - only an item that is made has its bytes
        data = self._base.read_at(part.old, part.length)
        if not predict:
            return data
        if not self._asked:
            self._asked = True
            matches = (match for match, _ in self.steps() if match.length)
            old_start = self._base.read_at(0, min(START_BYTES, self._base.size))
            self._references = references(self._kind, old_start, self._new_start, Shifts(matches))
        return predicted(data, part, self._references)
