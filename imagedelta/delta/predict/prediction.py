"""The old bytes of a delta with each reference as it should be in the new file: what differences are added to.

The controls of the item say what moved, and the start of the new file, which is never predicted, where its segments
lie now. Both sides compute the same, so a reference that only moved costs nothing.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy

from imagedelta.delta.content import Extent
from imagedelta.delta.predict import clr
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.old import Part, Predicted, cut, read_parts
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.program import Program, program_of
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.errors import ContentError
from imagedelta.limits import KIB

START_BYTES = 4 * KIB
"""Of the new file, which are never predicted: the segments of both files are read from so many bytes."""
_PROGRAM = Kind.CODE | Kind.ADDRESSES | Kind.TABLES | Kind.JUMPS | Kind.IMMEDIATES | Kind.AARCH64


class Prediction:
    """The predictions of one delta; its new bytes are made, and shown to it, from front to back."""

    def __init__(
        self,
        kinds: Kind,
        corrections: Sequence[int],
        base: Extent,
        controls: Controls,
        file: clr.ClrFile | None = None,
    ) -> None:
        """Args:
            file: What the base is, if it is known already that it is a .NET file.

        Raises:
            ContentError: A match is not inside the base.
        """
        self._kinds, self._corrections, self._base, self._controls = kinds, corrections, base, controls
        self._are_whole = bool(kinds & Kind.NUMBERS)
        self._file = file
        if not controls.are_within(base.size):
            raise ContentError("a predicted delta of bytes that its base does not have")
        self.waits = True
        """Whether the start of the new file is still to be shown, so that each part is made before the next."""
        self._new_start = b""
        self._old = base
        self._program: Program | None = None

    @property
    def predicts(self) -> bool:
        """Whether there are any references to predict."""
        return bool(self._kinds)

    def show(self, data: bytes) -> None:
        """Take the next bytes of the new file."""
        if self.waits:
            self._new_start += data[: START_BYTES - len(self._new_start)]
            if len(self._new_start) == START_BYTES:
                self.waits = False
                self._begin()

    def with_kinds(self, kinds: Kind) -> Prediction:
        """Return the same prediction of other kinds, where the start of the new file has been shown.

        Args:
            kinds: The same of .NET, and no tables where this one has none.
        """
        other = copy(self)
        other._kinds, other._are_whole = kinds, bool(kinds & Kind.NUMBERS)
        other._program = self._program and self._program.with_kinds(kinds)
        return other

    def parts(self, match: Stretch) -> Iterable[Part]:
        """Return the parts of a match; all bytes before it have been shown, and those of a part before the next."""
        return self._from_start(match) if match.new < START_BYTES else self._behind_start(match)

    def predicted(self, part: Part) -> Predicted:
        """Return what the old bytes of a part should be in the new file."""
        return self.together([part])

    def together(self, parts: Sequence[Part]) -> Predicted:
        """Return what ``predicted`` does of several parts, as of one; all of them are predicted, or none is."""
        if not parts[0].predicted:
            return Predicted(read_parts(self._base, parts), (), ())
        data = read_parts(self._old, parts)
        if self._program is None:
            return Predicted(data, (), ())
        return Predicted(*self._program.predicted(data, parts), self._are_whole)

    def _from_start(self, match: Stretch) -> Iterator[Part]:
        old, new, length = match
        before = min(length, START_BYTES - new)
        if before:
            yield Part(old, before, predicted=False)
        if before < length:
            yield from self._behind_start(Stretch(old + before, new + before, length - before))

    def _behind_start(self, match: Stretch) -> Iterable[Part]:
        return self._program.parts(match) if self._program else cut(match.old, match.old + match.length)

    def _begin(self) -> None:
        start = self._base.read_at(0, min(START_BYTES, self._base.size))
        file = self._file
        if file is None and self._kinds & Kind.CLR:
            file = clr.read_clr(self._base.whole())
        if file:
            new_image = read_pe(self._new_start) or Image(())
            self._old = _in_memory(clr.predicted(file, self._controls.shifts, new_image, self._corrections))
        if self._kinds & _PROGRAM:
            self._program = program_of(self._kinds, self._old, start, self._new_start, self._controls.shifts, file)


def _in_memory(data: bytearray) -> Extent:
    return Extent(_Memory(data), 0, len(data))


class _Memory:
    """A file in memory, of which parts are copied."""

    def __init__(self, data: bytearray) -> None:
        self._data = memoryview(data)
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])
