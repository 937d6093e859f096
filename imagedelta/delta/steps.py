"""Steps: how a layer is made, front to back. Each first copies structure, then makes the bytes of a file.

Lengths and offsets are written as differences from what a reader expects by then: after a tar header comes
as much data as the header says, after data its padding and one header, and in the source the next file
lies where this one's layer would have it. On an unchanged file all differences are 0.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from imagedelta.delta.raw_streams import Spools, Tape
from imagedelta.delta.roles import Role
from imagedelta.delta.tar_structure import BLOCK, header_size_field
from imagedelta.errors import ContentError, UnsupportedFormat

KEPT = 0
"""Source number of the bytes kept on the way; source layer n of the head is number n + 1."""


class Kind(IntEnum):
    """What makes the bytes of a step."""

    COPY = 0
    DELTA = 1
    LITERAL = 2
    CODE = 3
    TEXT = 4
    END = 5
    """Nothing: structure is the end of the layer."""


KEEP_FLAG = 0x80
_LITERAL_ROLES = {Kind.LITERAL: Role.LITERAL, Kind.CODE: Role.CODE, Kind.TEXT: Role.TEXT}


@dataclass(frozen=True, slots=True)
class Step:
    """One step. ``source``, ``offset`` and ``old_length`` matter to COPY and DELTA only."""

    kind: Kind
    length: int
    keep: bool = False
    """The bytes occur again: keep a copy."""
    source: int = KEPT
    offset: int = 0
    old_length: int = 0
    """DELTA: how many bytes of the source the delta may use."""

    @property
    def literal_role(self) -> Role | None:
        """Stream that holds the bytes, for the literal kinds."""
        return _LITERAL_ROLES.get(self.kind)


class _Expected:
    """What both sides expect next."""

    def __init__(self) -> None:
        self.source = 1
        self._next_in_source: dict[int, int] = {}
        self.start_layer()

    def start_layer(self) -> None:
        self._padding = 0

    def structure_length(self) -> int:
        return self._padding + BLOCK

    def length(self, structure_end: bytes) -> int:
        return header_size_field(structure_end) if len(structure_end) == BLOCK else 0

    def offset(self, source: int, structure_length: int) -> int:
        return self._next_in_source.get(source, 0) + structure_length

    def made(self, step: Step) -> None:
        self._padding = -step.length % BLOCK
        if step.kind in (Kind.COPY, Kind.DELTA):
            self.source = step.source
            used = step.length if step.kind is Kind.COPY else step.old_length
            self._next_in_source[step.source] = step.offset + used


class StepWriter:
    """Writes steps to their streams."""

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._expected = _Expected()

    def write(self, structure_length: int, structure_end: bytes, step: Step) -> None:
        """Append a step.

        Args:
            structure_end: The last 512 bytes of the structure before it (fewer when there are fewer).
        """
        expected, spools = self._expected, self._spools
        spools.write(Role.KINDS, bytes([step.kind | (KEEP_FLAG if step.keep else 0)]))
        spools.signed(Role.STRUCTURE_LENGTHS, structure_length - expected.structure_length())
        if step.kind is Kind.END:
            expected.start_layer()
            return
        spools.signed(Role.LENGTHS, step.length - expected.length(structure_end))
        if step.kind in (Kind.COPY, Kind.DELTA):
            spools.signed(Role.SOURCES, step.source - expected.source)
            spools.signed(Role.OFFSETS, step.offset - expected.offset(step.source, structure_length))
        if step.kind is Kind.DELTA:
            spools.signed(Role.LENGTHS, step.old_length - step.length)
        expected.made(step)


class StepReader:
    """Reads what StepWriter wrote: ``start`` and then ``finish`` once per step."""

    def __init__(self, tapes: dict[Role, Tape]) -> None:
        self._tapes = tapes
        self._expected = _Expected()

    def start(self) -> tuple[Kind, bool, int]:
        """Return kind, keep flag and structure length of the next step.

        Raises:
            UnsupportedFormat: A kind this version does not know.
            ContentError: A negative length.
        """
        byte = self._tapes[Role.KINDS].read(1)[0]
        kind = byte & ~KEEP_FLAG
        if kind > Kind.END or byte == Kind.END | KEEP_FLAG:
            raise UnsupportedFormat(f"patch step of kind {byte}")
        length = self._tapes[Role.STRUCTURE_LENGTHS].signed() + self._expected.structure_length()
        if kind == Kind.END:
            self._expected.start_layer()
        return Kind(kind), bool(byte & KEEP_FLAG), _not_negative(length)

    def finish(self, kind: Kind, keep: bool, structure_length: int, structure_end: bytes) -> Step:
        """Return the whole step, once its structure is known.

        Raises:
            ContentError: A negative number, or a step that makes nothing.
        """
        expected, tapes = self._expected, self._tapes
        length = tapes[Role.LENGTHS].signed() + expected.length(structure_end)
        source = offset = old_length = 0
        if kind in (Kind.COPY, Kind.DELTA):
            source = _not_negative(tapes[Role.SOURCES].signed() + expected.source)
            offset = tapes[Role.OFFSETS].signed() + expected.offset(source, structure_length)
        if kind is Kind.DELTA:
            old_length = tapes[Role.LENGTHS].signed() + length
        if length <= 0 or offset < 0 or old_length < 0:
            raise ContentError("patch step: a length or offset below its least value")
        step = Step(kind, length, keep, source, offset, old_length)
        expected.made(step)
        return step


def _not_negative(value: int) -> int:
    if value < 0:
        raise ContentError("patch step: a length or source number below 0")
    return value
