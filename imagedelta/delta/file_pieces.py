"""A planned file as pieces: what each step says and the bytes it adds to the streams.

Pieces of different files do not depend on each other, so files can be worked on in any order or process.
A piece is at most a window of the profile, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from imagedelta.delta import numbers
from imagedelta.delta.bases import SourceFile
from imagedelta.delta.content import LayerReader
from imagedelta.delta.file_diff import difference
from imagedelta.delta.plan import FilePlan, Way
from imagedelta.delta.profiles import Profile
from imagedelta.delta.roles import Role
from imagedelta.delta.steps import Kind
from imagedelta.limits import MIB

_LITERAL_PIECE = MIB
_USELESS = 0.95
"""A delta whose extra bytes are more than this part of the file is no delta."""
_SNIFFED = 4096

FindSource = Callable[[str], LayerReader]


@dataclass(frozen=True, slots=True)
class Piece:
    """One step, before its source has a number."""

    kind: Kind
    length: int
    diff_id: str = ""
    """Source layer of COPY and DELTA; "" for what the patch has kept."""
    offset: int = 0
    old_length: int = 0
    streams: dict[Role, bytes] = field(default_factory=dict)


class FilePieces:
    """Makes the pieces of the files of one build."""

    def __init__(self, find_source: FindSource, profile: Profile, *, split_literals: bool) -> None:
        """Args:
        split_literals: Keep machine code and text apart from the rest, which pays when there is much of it.
        """
        self._find_source = find_source
        self._profile = profile
        self._split = split_literals

    def make(self, plan: FilePlan, target: LayerReader) -> Iterator[Piece]:
        """Yield the pieces of a file, front to back; files of Way.KEPT have none here."""
        entry, base = plan.entry, plan.base
        if plan.way is Way.SOURCE and base:
            yield Piece(Kind.COPY, entry.size, base.diff_id, base.offset)
        elif base is None:
            yield from self._literals(target, entry.offset, entry.size, self._literal_kind(plan, target))
        elif entry.size > self._profile.whole_file_bytes or base.size > self._profile.whole_file_bytes:
            yield from self._windows(plan, base, target)
        else:
            yield from self._one_delta(plan, base, target)

    def _one_delta(self, plan: FilePlan, base: SourceFile, target: LayerReader) -> Iterator[Piece]:
        entry = plan.entry
        old = self._find_source(base.diff_id).read_at(base.offset, base.size)
        new = target.read_at(entry.offset, entry.size)
        piece = self._delta(old, new, base.diff_id, base.offset)
        if piece:
            yield piece
        else:
            yield from self._literals(target, entry.offset, entry.size, self._literal_kind(plan, target))

    def _windows(self, plan: FilePlan, base: SourceFile, target: LayerReader) -> Iterator[Piece]:
        """Cut a large file; each window looks for its old bytes where the one before found its own."""
        entry, profile = plan.entry, self._profile
        source = self._find_source(base.diff_id)
        literal = self._literal_kind(plan, target)
        drift = 0
        for at in range(0, entry.size, profile.window_bytes):
            size = min(profile.window_bytes, entry.size - at)
            new = target.read_at(entry.offset + at, size)
            place = min(max(0, at + drift), base.size)
            aligned = min(size, base.size - place)
            if aligned == size and source.read_at(base.offset + place, size) == new:
                yield Piece(Kind.COPY, size, base.diff_id, base.offset + place)
                continue
            start = max(0, place - profile.window_reach_bytes)
            end = min(base.size, place + size + profile.window_reach_bytes)
            old = source.read_at(base.offset + start, end - start)
            piece = self._delta(old, new, base.diff_id, base.offset + start)
            if piece:
                drift = start + _end_in_old(piece) - (at + size)
                yield piece
            else:
                yield from self._literals(target, entry.offset + at, size, literal)

    def _delta(self, old: bytes, new: bytes, diff_id: str, offset: int) -> Piece | None:
        if not old:
            return None
        found = difference(old, new, self._profile.min_match_bytes)
        if len(found.extra) > _USELESS * len(new):
            return None
        sames, extras, seeks = zip(*found.controls, strict=True)
        streams = {
            Role.DIFF_LENGTHS: b"".join(map(numbers.encode, sames)),
            Role.EXTRA_LENGTHS: b"".join(map(numbers.encode, extras)),
            Role.SEEKS: b"".join(numbers.encode(numbers.zigzag(seek)) for seek in seeks),
            Role.DIFF: found.difference,
            Role.EXTRA: found.extra,
        }
        return Piece(Kind.DELTA, len(new), diff_id, offset, len(old), streams)

    def _literals(self, target: LayerReader, offset: int, size: int, kind: Kind) -> Iterator[Piece]:
        role = {Kind.LITERAL: Role.LITERAL, Kind.CODE: Role.CODE, Kind.TEXT: Role.TEXT}[kind]
        for at in range(offset, offset + size, _LITERAL_PIECE):
            data = target.read_at(at, min(_LITERAL_PIECE, offset + size - at))
            yield Piece(kind, len(data), streams={role: data})

    def _literal_kind(self, plan: FilePlan, target: LayerReader) -> Kind:
        if not self._split:
            return Kind.LITERAL
        return literal_kind(target.read_at(plan.entry.offset, min(_SNIFFED, plan.entry.size)))


def literal_kind(start: bytes) -> Kind:
    """Tell machine code and text from the rest by a file's first bytes."""
    if start.startswith((b"\x7fELF", b"MZ")):
        return Kind.CODE
    return Kind.LITERAL if b"\0" in start else Kind.TEXT


def literals_of_structure(data: bytes) -> Piece:
    """Return a piece for a long run of bytes outside files: what fits no model of a tar."""
    return Piece(Kind.LITERAL, len(data), streams={Role.LITERAL: data})


def _end_in_old(piece: Piece) -> int:
    """Return the place in the old bytes that the last matching byte of a delta came from."""
    sames, seeks = _numbers(piece.streams[Role.DIFF_LENGTHS]), _numbers(piece.streams[Role.SEEKS])
    position = end = 0
    for same, seek in zip(sames, seeks, strict=True):
        position += same
        end = position if same else end
        position += numbers.unzigzag(seek)
    return end


def _numbers(data: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
