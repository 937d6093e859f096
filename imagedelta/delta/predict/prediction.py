"""The old bytes of a delta with each reference as it should be in the new file: what differences are added to.

The controls of the item say what moved, and the start of the new file, which is never predicted, where its segments
lie now. Both sides compute the same, so a reference that only moved costs nothing.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import NamedTuple

from imagedelta.delta.content import Extent
from imagedelta.delta.predict import clr
from imagedelta.delta.predict.aarch64 import Aarch64
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.data_references import DataReferences
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.elf_records import Moves
from imagedelta.delta.predict.elf_tables import find_tables
from imagedelta.delta.predict.image import Image, Piece, Segment, address_moves
from imagedelta.delta.predict.kinds import MACHINE_CODE, Kind
from imagedelta.delta.predict.old import PART_BYTES, Part, Predicted, cut, read_parts
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.ready_to_run import RuntimeFunctions, runtime_functions
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.delta.predict.site import Run, Sites
from imagedelta.delta.predict.steps import Steps
from imagedelta.delta.predict.tables import NoReferences, Table
from imagedelta.delta.predict.x86_64 import X8664
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
        self._new_start = b""
        self._old = base
        self._program: _Program | None = None

    @property
    def predicts(self) -> bool:
        """Whether there are any references to predict."""
        return bool(self._kinds)

    @property
    def waits(self) -> bool:
        """Whether the start of the new file is still to be shown, so that each part is made before the next."""
        return len(self._new_start) < START_BYTES

    def show(self, data: bytes) -> None:
        """Take the next bytes of the new file."""
        if self.waits:
            self._new_start += data[: START_BYTES - len(self._new_start)]
            if len(self._new_start) == START_BYTES:
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
            self._program = _program(self._kinds, self._old, start, self._new_start, self._controls.shifts, file)


class _Program:
    """The references of a program."""

    def __init__(self, kinds: Kind, images: tuple[Image, Image], moves: Steps, tables: list[Table], *, is_elf: bool):
        self._tables, self._moves, self._is_elf = tables, moves, is_elf
        self._has_code, self._has_addresses, self._has_jumps = (
            bool(kinds & sought) for sought in (MACHINE_CODE, Kind.ADDRESSES, Kind.JUMPS)
        )
        """Asked once: there are parts by the hundred thousand."""
        self._ends = [table.end for table in tables]
        """Rising, as tables do not overlap."""
        self._old, self._new = images
        self._zone = _NO_ZONE
        """Of the last match."""
        self._data = DataReferences(self._old, moves, is_elf=is_elf)
        self._code = Aarch64(moves) if kinds & Kind.AARCH64 else X8664(moves, kinds, is_fixed=self._old.is_fixed)

    def with_kinds(self, kinds: Kind) -> _Program:
        """See ``Prediction``."""
        tables = self._tables if kinds & Kind.TABLES or not self._is_elf else []
        return _Program(kinds, (self._old, self._new), self._moves, tables, is_elf=self._is_elf)

    def parts(self, match: Stretch) -> Iterable[Part]:
        """Return the parts of what is left of a match."""
        old, new, length = match
        if not self._zone.has(match):  # there are matches by the hundred thousand, and most are in the zone of the last
            self._zone = self._zone_at(old, new)
            if not self._zone.has(match):
                return self._cut(match)
        _, _, segment, ahead, table = self._zone
        run = Run(old, old + length, segment, new - old + ahead)
        if 0 < length <= PART_BYTES:
            return (Part(old, length, True, run, table),)
        return cut(old, old + length, run, table)

    def predicted(self, data: bytes, parts: Sequence[Part]) -> tuple[bytes, Sequence[int], Sequence[int]]:
        """Return the bytes of parts as they should be, and where in them numbers of 32 and of 64 bits are."""
        out, sites, at = bytearray(data), Sites(self._code.ALIGNED), 0
        words: list[int] = []
        longs: list[int] = []
        for part in parts:
            run, end = part.run, at + part.length
            if run and not part.table and run.segment and run.segment.executable:
                if self._has_code:
                    sites.add(at, part.length, part.old, run)
            elif run and (part.table or run.segment):
                made = bytearray(data[at:end])
                more_words, more_longs = self._outside_code(data[at:end], made, part, run)
                out[at:end] = made
                words += [at + place for place in more_words]
                longs += [at + place for place in more_longs]
            at = end
        if sites:
            words += self._code.code(data, out, sites)
        return bytes(out), words, longs

    def _outside_code(self, data: bytes, out: bytearray, part: Part, run: Run) -> tuple[Sequence[int], Sequence[int]]:
        if part.table:
            return part.table.predict(data, out, part.old, run.difference)
        words: Sequence[int] = ()
        longs: Sequence[int] = ()
        if self._has_addresses and (self._old.is_fixed or (run.segment and run.segment.writable)):
            longs = self._data.addresses(data, out, part.old)
        if self._has_jumps:
            words = self._data.jumps(data, out, part.old, run, longs)
        return words, longs

    def _cut(self, match: Stretch) -> Iterator[Part]:
        for run in self._runs(match):
            at = run.start
            for table in self._tables[bisect_right(self._ends, at) :]:
                if table.start >= run.end:
                    break
                start, end = max(at, table.start), min(run.end, table.end)
                if start < end:
                    yield from cut(at, start, run)
                    yield from cut(start, end, run, table)
                    at = end
            yield from cut(at, run.end, run)

    def _zone_at(self, old: int, new: int) -> _Zone:
        """Return the zone of a place of the old file, and of where it is in the new one."""
        old_piece, new_piece = self._old.piece_at(old), self._new.piece_at(new)
        if not old_piece or not old_piece.segment or not new_piece or not new_piece.segment:
            return _NO_ZONE
        (start, end, segment), at = old_piece, bisect_right(self._ends, old)
        table = self._tables[at] if at < len(self._tables) else None
        if table and table.start <= old:
            start, end = max(start, table.start), min(end, table.end)
        else:
            start, end = max(start, self._ends[at - 1] if at else 0), min(end, table.start if table else end)
            table = None
        return _Zone((start, end), new_piece[:2], segment, _ahead(old_piece.segment, new_piece.segment), table)

    def _runs(self, match: Stretch) -> Iterator[Run]:
        shift = match.new - match.old
        for old in self._old.pieces(match.old, match.old + match.length):
            for new in self._new.pieces(old.start + shift, old.end + shift):
                yield _run(old, new, shift)


class _Zone(NamedTuple):
    """A stretch of the old file, and one of the new, between which all matches are of one kind."""

    old: tuple[int, int]
    """Its start and its end; so is ``new``."""
    new: tuple[int, int]
    segment: Segment | None
    ahead: int
    """By how much more addresses than places move."""
    table: Table | None

    def has(self, match: Stretch) -> bool:
        """Whether all of a match is in it."""
        old, new, length = match
        return self.old[0] <= old and old + length <= self.old[1] and self.new[0] <= new and new + length <= self.new[1]


_NO_ZONE = _Zone((0, 0), (0, 0), None, 0, None)


def _run(old: Piece, new: Piece, shift: int) -> Run:
    """Return what of a piece of the old file is in one of the new, which is not longer."""
    start, end = new.start - shift, new.end - shift
    if not old.segment or not new.segment:
        return Run(start, end, None, 0)
    return Run(start, end, old.segment, shift + _ahead(old.segment, new.segment))


def _ahead(old: Segment, new: Segment) -> int:
    return (new.address - new.offset) - (old.address - old.offset)


def _program(
    kinds: Kind, base: Extent, start: bytes, new_start: bytes, shifts: Shifts, file: clr.ClrFile | None
) -> _Program | None:
    is_elf = start.startswith(b"\x7fELF")
    read = read_elf if is_elf else read_pe
    old, new = read(start), read(new_start)
    if old is None or new is None:
        return None
    addresses = address_moves(old, new, shifts)
    tables = _clr_tables(file, addresses) if file else []
    if is_elf and kinds & Kind.TABLES:
        tables = find_tables(
            base.read_at,
            base.size,
            start,
            new_start,
            Moves(Steps(shifts.starts, shifts.values), old.offsets, addresses),
        )
    return _Program(kinds, (old, new), addresses, tables, is_elf=is_elf)


def _clr_tables(file: clr.ClrFile, addresses: Steps) -> list[Table]:
    """Return what in a .NET file is not machine code, in the order of the file; what overlaps is left out."""
    found: list[Table] = [NoReferences(*file.metadata.place), NoReferences(*file.bodies_at)]
    place = runtime_functions(file.metadata.data, file.image)
    if place:
        found.append(RuntimeFunctions(*place, addresses))
    tables: list[Table] = []
    for table in sorted(found, key=lambda one: (one.start, one.end)):
        if table.start >= (tables[-1].end if tables else 0):
            tables.append(table)
    return tables


def _in_memory(data: bytearray) -> Extent:
    return Extent(_Memory(data), 0, len(data))


class _Memory:
    """A file in memory, of which parts are copied."""

    def __init__(self, data: bytearray) -> None:
        self._data = memoryview(data)
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._data[offset : offset + length])
