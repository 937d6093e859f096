"""A planned file as pieces: the items that make its data, and the bytes they take from the streams.

Pieces of different files do not depend on each other, so files can be worked on in any order, by any number of
threads or processes. A piece is at most a window of the profile, whatever the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from imagedelta.delta.content import LayerContent, LayerReader
from imagedelta.delta.deflate.fold_list import write_folds
from imagedelta.delta.deflate.self_test import deflate_is_zlib
from imagedelta.delta.deflate.unfolding import unfold
from imagedelta.delta.encode import primed_lzma
from imagedelta.delta.encode.bases import same_name
from imagedelta.delta.encode.file_diff import Difference, difference, packed_bytes
from imagedelta.delta.encode.fold_finding import find_folds
from imagedelta.delta.encode.matches import BYTES_PER_OLD_BYTE
from imagedelta.delta.encode.plan import FilePlan, PatchPlan
from imagedelta.delta.encode.spools import spooled_file
from imagedelta.delta.encode.windows import Window, Windows, window_count
from imagedelta.delta.format import numbers, zero_runs
from imagedelta.delta.format.items import STREAM_OF, Item, Way
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB

_LITERAL_PIECE = MIB
_BYTES_PER_NEW_BYTE = 4
"""The bytes themselves, their differences with zeros and without, and what is packed."""
_GOOD, _USELESS = 0.1, 0.95
"""A delta with extra bytes for less than this part of the file is taken; with more than that, the file is sent."""
_WORTHWHILE = 0.75
"""Between them, in a patch with much that is new, a delta from a file of another name must pack to less than this part
of what the file packs to: files of one maker share a little of everything, and bytes pack better beside much of their
kind than alone."""
_SNIFFED = 4096
_UNFOLDED_IN_MEMORY = 4 * MIB
_LONG_TEXT, _HARDLY_CHANGED = 128 * 1024, 200
"""Text of so many bytes is a delta if that is so many times shorter: old text has a place in a frame for its length,
whatever has changed in it."""
_PACKED_STARTS = (b"PK\x03\x04", b"\x1f\x8b\x08")


@dataclass(frozen=True, slots=True)
class Piece:
    """One item, and what it appends to the streams."""

    item: Item
    streams: dict[Role, bytes] = field(default_factory=dict)
    prime: int | None = None
    """OLD_TEXT: the member that is its old text, whose bytes are under Role.PRIMES here."""
    part_bytes: int = 0
    """FOLDED: bytes of the unfolded base."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes of one file."""

    reader: LayerReader
    offset: int
    size: int
    is_version: bool = True
    """Whether the name says that it is a version of the file it is compared with, not its content alone."""

    def read(self, offset: int, length: int) -> bytes:
        return self.reader.read_at(self.offset + offset, length)

    def whole(self) -> bytes:
        return self.read(0, self.size)


class FilePieces:
    """Makes the pieces of the files of one build; usable by several threads at once."""

    def __init__(self, plan: PatchPlan, profile: Profile, scratch: Path, *, much_is_new: bool) -> None:
        """Args:
        scratch: Folder for unfolded forms.
        much_is_new: Keep literal machine code apart from the rest, and new files rather than poor deltas of them.
        """
        self._number = plan.number
        self._profile = profile
        self._scratch = scratch
        self._much_is_new = much_is_new
        self._windows: dict[tuple[str, int], Windows] = {}

    def parts(self, plan: FilePlan) -> int:
        """Return in how many parts a file can be worked on apart."""
        return window_count(plan.entry.size, plan.base.entry.size, self._profile) if plan.base else 1

    def make(self, layer: LayerContent, plan: FilePlan, part: int) -> Iterator[Piece]:
        """Yield the pieces of a part of a file, front to back; all parts in their order make the file."""
        new = _Part(layer.reader, plan.entry.offset, plan.entry.size)
        old = number = None
        if plan.base:
            entry, number = plan.base.entry, self._number(plan.base)
            is_version = same_name(plan.entry.path, entry.path)
            old = _Part(plan.base.layer.reader, entry.offset, entry.size, is_version)
        start = new.read(0, min(_SNIFFED, new.size))
        if start.startswith(_PACKED_STARTS) and self._may_fold(new):
            yield from [] if part else self._maybe_folded(new, old, number)
        elif old and self.parts(plan) > 1 and not self._is_old_text(new, old):
            file = layer.index.diff_id, plan.entry.offset
            windows = self._windows.setdefault(file, self._cut(new, old))
            yield from self._window(new, old, number, windows.window(part))
        elif not part:
            yield from self._pieces(new, old, number)

    def _may_fold(self, new: _Part) -> bool:
        return new.size <= self._profile.unfolded_bytes and self._profile.folds and deflate_is_zlib()

    def memory(self, plan: FilePlan) -> int:
        """Return about how many bytes making the pieces of a file takes."""
        base, new = plan.base.entry.size if plan.base else 0, plan.entry.size
        if max(base, new) > self._profile.whole_file_bytes:
            base = self._profile.window_bytes + 2 * self._profile.window_reach_bytes
            new = self._profile.window_bytes
        return (BYTES_PER_OLD_BYTE + 1) * base + _BYTES_PER_NEW_BYTE * new

    def _maybe_folded(self, new: _Part, old: _Part | None, number: int | None) -> Iterator[Piece]:
        with self._scratch_file() as unfolded, self._scratch_file() as unfolded_base:
            limit = self._profile.unfolded_bytes
            folds = find_folds(new.read, new.size, unfolded.write, limit)
            if folds is None:
                yield from self._pieces(new, old, number)
                return
            base_folds = unfold(old.read, old.size, unfolded_base.write, limit) if old else None
            inner_old = _part_of(unfolded_base) if base_folds else None
            inner = _part_of(unfolded)
            base = number if base_folds else None
            item = Item(Way.FOLDED, new.size, base, inner_length=inner.size)
            part_bytes = inner_old.size if inner_old else 0
            yield Piece(item, {Role.FOLDS: write_folds(folds, base_folds)}, part_bytes=part_bytes)
            yield from self._deltas(inner, inner_old, None) if inner_old else self._literals(inner, 0, inner.size)

    def _scratch_file(self) -> BinaryIO:
        return spooled_file(self._scratch, _UNFOLDED_IN_MEMORY)

    def _pieces(self, new: _Part, old: _Part | None, number: int | None) -> Iterator[Piece]:
        if old is None or number is None:
            yield from self._literals(new, 0, new.size)
        elif self._is_old_text(new, old):
            yield from self._old_text(new.whole(), old.whole(), number)
        else:
            yield from self._deltas(new, old, number)

    def _old_text(self, new: bytes, old: bytes, number: int) -> Iterator[Piece]:
        if len(new) >= _LONG_TEXT:
            found = difference(old, new, self._profile.min_match_bytes)
            if found.cost() * _HARDLY_CHANGED <= len(new):
                yield _delta(found, number, 0)
                return
        yield Piece(Item(Way.OLD_TEXT, len(new)), {Role.OLD_TEXT: new, Role.PRIMES: old}, prime=number)

    def _is_old_text(self, new: _Part, old: _Part) -> bool:
        return (
            new.size + old.size <= self._profile.old_text_bytes
            and _is_text(new)
            and _is_text(old)
            and primed_lzma.can_compress()
        )

    def _deltas(self, new: _Part, old: _Part, number: int | None) -> Iterator[Piece]:
        count = window_count(new.size, old.size, self._profile)
        if count > 1:
            windows = self._cut(new, old)
            for window in map(windows.window, range(count)):
                yield from self._window(new, old, number, window)
            return
        found = self._difference(old.whole(), new.whole(), old.is_version)
        yield from [_delta(found, number, 0)] if found else self._literals(new, 0, new.size)

    def _cut(self, new: _Part, old: _Part) -> Windows:
        return Windows(new.read, new.size, old.read, old.size, self._profile)

    def _window(self, new: _Part, old: _Part, number: int | None, window: Window) -> Iterator[Piece]:
        data = new.read(window.at, window.size)
        looked_at = old.read(window.start, window.end - window.start)
        expected = window.place - window.start
        if looked_at[expected : expected + window.size] == data:
            yield Piece(Item(Way.COPY, window.size, number, window.place))
        elif found := self._difference(looked_at, data, old.is_version):
            yield _delta(found, number, window.start)
        else:
            yield from self._literals(new, window.at, window.size)

    def _difference(self, old: bytes, new: bytes, is_version: bool) -> Difference | None:
        if not old:
            return None
        found = difference(old, new, self._profile.min_match_bytes)
        return found if self._is_useful(found, new, is_version) else None

    def _is_useful(self, found: Difference, new: bytes, is_version: bool) -> bool:
        if len(found.extra) <= _GOOD * len(new):
            return True
        if is_version or not self._much_is_new:
            return len(found.extra) <= _USELESS * len(new)
        return found.cost() < _WORTHWHILE * packed_bytes(new)

    def _literals(self, new: _Part, offset: int, size: int) -> Iterator[Piece]:
        way = self._literal_way(new.read(offset, min(_SNIFFED, size)))
        for at in range(offset, offset + size, _LITERAL_PIECE):
            data = new.read(at, min(_LITERAL_PIECE, offset + size - at))
            yield Piece(Item(way, len(data)), {STREAM_OF[way]: data})

    def _literal_way(self, start: bytes) -> Way:
        if start.startswith((b"\x7fELF", b"MZ")):
            return Way.CODE if self._much_is_new else Way.LITERAL
        return Way.LITERAL if b"\0" in start else Way.TEXT


def _delta(found: Difference, number: int | None, offset: int) -> Piece:
    """Return the piece that makes the new bytes of those that start at ``offset`` in the old file."""
    sames, extras, seeks = zip(*found.controls, strict=True)
    dense, zeros = zero_runs.shorten(found.difference)
    streams = {
        Role.DIFF_LENGTHS: b"".join(map(numbers.encode, sames)),
        Role.EXTRA_LENGTHS: b"".join(map(numbers.encode, extras)),
        Role.SEEKS: b"".join(numbers.encode(numbers.zigzag(seek)) for seek in seeks),
        Role.DIFF: dense,
        Role.ZEROS: zeros,
        Role.EXTRA: found.extra,
    }
    return Piece(Item(Way.DELTA, sum(sames) + sum(extras), number, offset + found.start), streams)


def _is_text(part: _Part) -> bool:
    start = part.read(0, min(_SNIFFED, part.size))
    return b"\0" not in start and not start.startswith((b"\x7fELF", b"MZ", *_PACKED_STARTS))


class _FileBytes:
    """A scratch file as a reader."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.tell()

    def read_at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)


def _part_of(file: BinaryIO) -> _Part:
    reader = _FileBytes(file)
    return _Part(reader, 0, reader.size)
