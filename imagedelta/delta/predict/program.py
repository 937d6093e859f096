"""The references of a program, and what each should be in the new file.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imagedelta.delta.content import Extent
from imagedelta.delta.predict import clr
from imagedelta.delta.predict.aarch64 import Aarch64
from imagedelta.delta.predict.cuts import Cuts
from imagedelta.delta.predict.data_references import DataReferences
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.elf_records import Moves
from imagedelta.delta.predict.elf_tables import find_tables
from imagedelta.delta.predict.image import Image, address_moves
from imagedelta.delta.predict.kinds import MACHINE_CODE, Kind
from imagedelta.delta.predict.old import Part
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.ready_to_run import RuntimeFunctions, runtime_functions
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.delta.predict.site import Run, Sites
from imagedelta.delta.predict.steps import Steps
from imagedelta.delta.predict.tables import NoReferences, Table
from imagedelta.delta.predict.x86_64 import X8664


class Program:
    """The references of a program; its parts are predicted in any order."""

    def __init__(self, kinds: Kind, images: tuple[Image, Image], moves: Steps, tables: list[Table], *, is_elf: bool):
        self._tables, self._moves, self._is_elf = tables, moves, is_elf
        self._has_code, self._has_addresses, self._has_jumps = (
            bool(kinds & sought) for sought in (MACHINE_CODE, Kind.ADDRESSES, Kind.JUMPS)
        )
        """Asked once: there are parts by the hundred thousand."""
        self._old, self._new = images
        self._cuts = Cuts(*images, tables)
        self._data = DataReferences(self._old, moves, is_elf=is_elf)
        self._code = Aarch64(moves) if kinds & Kind.AARCH64 else X8664(moves, kinds, is_fixed=self._old.is_fixed)

    def with_kinds(self, kinds: Kind) -> Program:
        """See ``Prediction``."""
        tables = self._tables if kinds & Kind.TABLES or not self._is_elf else []
        return Program(kinds, (self._old, self._new), self._moves, tables, is_elf=self._is_elf)

    def parts(self, match: Stretch) -> Iterable[Part]:
        """Return the parts of a match, or of what is left of it."""
        return self._cuts.parts(match)

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


def program_of(
    kinds: Kind, base: Extent, start: bytes, new_start: bytes, shifts: Shifts, file: clr.ClrFile | None
) -> Program | None:
    """Return the references between two files; None where one of them is no program.

    Args:
        base: The old file; ``start`` are its first bytes, ``new_start`` those of the new one.
        file: What the base is, if it is a .NET file.
    """
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
    return Program(kinds, (old, new), addresses, tables, is_elf=is_elf)


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
