"""Methods: how the data of a file is carried. Each is a class that says what memory it takes and makes the pieces.

``Folded``   deflate streams undone, then one of the others
``OldText``  text behind the text that it was made from
``Window``   a window of a large file, as a delta
``Delta``    a whole file as a delta
``Literal``  the bytes as they are

``choose`` picks one by the size and the first bytes of a file. Files do not depend on each other, and neither do the
windows of a file, so they can be worked on in any order, by any number of threads or processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Protocol

from imagedelta import leb128
from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.deflate.fold_list import write_folds
from imagedelta.delta.deflate.self_test import deflate_is_zlib
from imagedelta.delta.deflate.unfolding import unfold
from imagedelta.delta.encode import beside, dictionary_lzma
from imagedelta.delta.encode.file_diff import Difference, difference, packed_bytes
from imagedelta.delta.encode.fold_finding import find_folds
from imagedelta.delta.encode.large_programs import MASKED_WHOLE_BYTES, large_delta
from imagedelta.delta.encode.matches import BYTES_PER_OLD_BYTE
from imagedelta.delta.encode.pieces import Piece
from imagedelta.delta.encode.predicting import predicted_difference, prediction_numbers, spans_of, unlike_difference
from imagedelta.delta.encode.spools import spooled_file
from imagedelta.delta.encode.windows import Windows, window_count
from imagedelta.delta.format import zero_runs
from imagedelta.delta.format.items import STREAM_OF, Item, Way
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.delta.predict.bounds import bounds_of
from imagedelta.limits import KIB, MIB

_LITERAL_PIECE = MIB
_BYTES_PER_NEW_BYTE = 4
"""The bytes themselves, their differences with zeros and without, and what is packed."""
_GOOD, _USELESS = 0.1, 0.95
"""A delta with extra bytes for less than this part of the file is taken; with more than that, the file is sent."""
_WORTHWHILE = 0.75
"""Between them, in a patch with much that is new, a delta from a file of another name must pack to less than this part
of what the file packs to: files of one maker share a little of everything, and bytes pack better beside much of their
kind than alone."""
_SNIFFED = 4 * KIB
_UNFOLDED_IN_MEMORY = 4 * MIB
_UNFOLDED_FACTOR = 4
"""About how many times as large as the file an unfolded form is: that of a jar is two to three times as large."""
_LONG_TEXT, _HARDLY_CHANGED = 128 * KIB, 200
"""Text of so many bytes is a delta if that is so many times shorter: old text has a place in a frame for its length,
whatever has changed in it."""
_ELF = b"\x7fELF"
_PROGRAM_STARTS = (_ELF, b"MZ")
_PACKED_STARTS = (b"PK\x03\x04", b"\x1f\x8b\x08")


@dataclass(frozen=True, slots=True)
class Encoding:
    """What is the same for all files of a build."""

    profile: Profile
    scratch: Path
    """Folder for unfolded forms."""
    much_is_new: bool
    """Literal machine code is kept apart from the rest, and a new file is sent rather than a poor delta of it."""


@dataclass(frozen=True)
class ChangedFile:
    """The bytes of a file that must be carried, and those of its base."""

    encoding: Encoding
    new: Extent
    old: Extent | None = None
    base: int | None = None
    """Number of the member that has the old bytes; ``None`` inside a folded item, which names their member itself."""
    is_version: bool = True
    """Whether the names say that one is a version of the other, not their contents alone."""

    @property
    def windows(self) -> int:
        """In how many windows the file is carried; 1 for one that is carried whole."""
        return window_count(self.new.size, self.old.size if self.old else 0, self.encoding.profile)

    @cached_property
    def cut(self) -> Windows:
        """Where the windows are; all of them share what is found."""
        assert self.old is not None  # noqa: S101 - only a file with a base is cut
        return Windows(self.new, self.old, self.encoding.profile)


class Method(Protocol):
    """How a file is carried, or a window of it."""

    def pieces(self) -> Iterator[Piece]:
        """Make the pieces, front to back."""
        ...

    def memory(self) -> int:
        """Return about how many bytes that takes."""
        ...


def choose(file: ChangedFile, window: int) -> Method | None:
    """Return the method of a window of a file; ``None`` where the first window carries the whole file."""
    start = _start(file.new)
    if start.startswith(_PACKED_STARTS) and _may_fold(file):
        return Folded(file) if window == 0 else None
    return _unfolded(file, window, start)


def pieces_of(file: ChangedFile) -> Iterator[Piece]:
    """Yield all pieces of a file."""
    methods = (choose(file, window) for window in range(file.windows))
    for method in methods:
        if method:
            yield from method.pieces()


def _unfolded(file: ChangedFile, window: int, start: bytes) -> Method | None:
    if file.old is None:
        return Literal(file.encoding, _window_of(file, window), start)
    if file.base is not None and _is_old_text(file.encoding, start, file.new, file.old):
        return OldText(file, file.old, file.base) if window == 0 else None
    if file.windows > 1 and _is_large_program(file, start):
        return LargeProgram(file, file.old) if window == 0 else None
    if file.windows > 1:
        return Window(file, file.old, window)
    return Delta(file, file.old)


def _is_large_program(file: ChangedFile, start: bytes) -> bool:
    assert file.old is not None  # noqa: S101 - only a file with a base is cut
    return file.encoding.profile.second_format and start.startswith(_ELF) and _start(file.old).startswith(_ELF)


def _window_of(file: ChangedFile, window: int) -> Extent:
    """Return the bytes of a window of a file that is not compared with any."""
    if file.windows == 1:
        return file.new
    at = window * file.encoding.profile.window_bytes
    size = min(file.encoding.profile.window_bytes, file.new.size - at)
    return Extent(file.new.reader, file.new.offset + at, size)


def _may_fold(file: ChangedFile) -> bool:
    profile = file.encoding.profile
    return file.new.size <= profile.unfolded_bytes and profile.folds and deflate_is_zlib()


def _is_old_text(encoding: Encoding, start: bytes, new: Extent, old: Extent) -> bool:
    return (
        new.size + old.size <= encoding.profile.old_text_bytes
        and _is_text(start)
        and _is_text(_start(old))
        and dictionary_lzma.can_compress()
    )


def _start(extent: Extent) -> bytes:
    return extent.read_at(0, min(_SNIFFED, extent.size))


def _is_text(start: bytes) -> bool:
    return b"\0" not in start and not start.startswith((*_PROGRAM_STARTS, *_PACKED_STARTS))


class Literal:
    """The bytes of a file as they are, or those of a window of it."""

    def __init__(self, encoding: Encoding, new: Extent, start: bytes = b"") -> None:
        """Args:
        start: Of the file, when ``new`` is not.
        """
        self._encoding = encoding
        self._new = new
        self._file_start = start

    def pieces(self) -> Iterator[Piece]:
        """See ``Method``."""
        way = self._way(self._file_start or _start(self._new))
        for at in range(0, self._new.size, _LITERAL_PIECE):
            data = self._new.read_at(at, min(_LITERAL_PIECE, self._new.size - at))
            yield Piece(Item(way, len(data)), {STREAM_OF[way]: data})

    def memory(self) -> int:
        """See ``Method``."""
        return 2 * min(_LITERAL_PIECE, self._new.size)

    def _way(self, start: bytes) -> Way:
        if start.startswith(_PROGRAM_STARTS):
            return Way.CODE if self._encoding.much_is_new else Way.LITERAL
        return Way.LITERAL if b"\0" in start else Way.TEXT


class OldText:
    """Text that is coded behind the text it was made from; where hardly anything changed in much text, a delta."""

    def __init__(self, file: ChangedFile, old: Extent, base: int) -> None:
        self._new = file.new
        self._old = old
        self._base = base
        self._profile = file.encoding.profile

    def pieces(self) -> Iterator[Piece]:
        """See ``Method``."""
        new = self._new.whole()
        if len(new) >= _LONG_TEXT:
            old = self._old.whole()
            found = difference(old, new, self._profile.min_match_bytes)
            if found.cost() * _HARDLY_CHANGED <= len(new):
                yield _delta(found, self._base, 0, (old, new), self._profile)
                return
        yield Piece(Item(Way.OLD_TEXT, len(new)), {Role.OLD_TEXT: new})

    def memory(self) -> int:
        """See ``Method``."""
        long = self._new.size >= _LONG_TEXT
        return _search_memory(self._old.size, self._new.size) if long else 2 * self._new.size


class Delta:
    """A file as the difference from its base, or its bytes where that is no use."""

    def __init__(self, file: ChangedFile, old: Extent) -> None:
        self._file = file
        self._old = old

    def pieces(self) -> Iterator[Piece]:
        """See ``Method``."""
        old, new, profile = self._old.whole(), self._file.new.whole(), self._file.encoding.profile
        found = self._with_predictions(old, new) if profile.second_format else _useful_difference(self._file, old, new)
        if found:
            yield _delta(found, self._file.base, 0, (old, new), profile)
        else:
            yield from Literal(self._file.encoding, self._file.new).pieces()

    def _with_predictions(self, old: bytes, new: bytes) -> Difference | None:
        profile = self._file.encoding.profile
        min_match, bounds = profile.min_match_bytes, bounds_of(is_small=profile.is_small)
        if self._file.is_version and (unlike := unlike_difference(old, new, min_match, bounds)):
            return unlike if _is_useful(self._file, unlike, new) else None
        found = _useful_difference(self._file, old, new)
        return predicted_difference(found, old, new, min_match, bounds) if found else None

    def memory(self) -> int:
        """See ``Method``."""
        return _search_memory(self._old.size, self._file.new.size)


class Window:
    """A window of a large file as the difference from the part of the base where its bytes are expected."""

    def __init__(self, file: ChangedFile, old: Extent, number: int) -> None:
        self._file = file
        self._old = old
        self._number = number

    def pieces(self) -> Iterator[Piece]:
        """See ``Method``."""
        file, place = self._file, self._file.cut.window(self._number)
        new = file.new.read_at(place.at, place.size)
        old = self._old.read_at(place.start, place.end - place.start)
        expected = place.place - place.start
        if old[expected : expected + place.size] == new:
            yield Piece(Item(Way.COPY, place.size, file.base, place.place))
        elif found := _useful_difference(file, old, new):
            yield _delta(found, file.base, place.start, (old, new), file.encoding.profile)
        else:
            window = Extent(file.new.reader, file.new.offset + place.at, place.size)
            yield from Literal(file.encoding, window).pieces()

    def memory(self) -> int:
        """See ``Method``."""
        return _window_memory(self._file.encoding.profile)


class LargeProgram:
    """A program of several windows as one delta with its references predicted; as windows where that is no use."""

    def __init__(self, file: ChangedFile, old: Extent) -> None:
        self._file = file
        self._old = old

    def pieces(self) -> Iterator[Piece]:
        """See ``Method``."""
        file, profile = self._file, self._file.encoding.profile
        bounds = bounds_of(is_small=profile.is_small)
        found = large_delta(self._old, file.new, file.cut, file.windows, profile.min_match_bytes, bounds)
        most = (_USELESS if file.is_version else _GOOD) * file.new.size
        if found and len(found.way.extra) <= most:
            yield _piece(found.way, (found.dense, found.zeros), file.base, 0, (self._old, file.new), profile)
            return
        for number in range(file.windows):
            yield from Window(file, self._old, number).pieces()

    def memory(self) -> int:
        """See ``Method``."""
        masked = 0
        for file in (self._old, self._file.new):
            masked += file.size if file.size <= MASKED_WHOLE_BYTES else 0
        return masked + _window_memory(self._file.encoding.profile)


class Folded:
    """A file whose deflate streams are undone, carried by another method; as it is where none can be made again."""

    def __init__(self, file: ChangedFile) -> None:
        self._file = file

    def pieces(self) -> Iterator[Piece]:
        """See ``Method``."""
        file, profile = self._file, self._file.encoding.profile
        limit = profile.unfolded_bytes
        with self._scratch_file() as unfolded, self._scratch_file() as unfolded_base:
            folds = find_folds(file.new.read_at, file.new.size, unfolded.write, limit, cutting=profile.second_format)
            if folds is None:
                yield from _as_it_is(file)
                return
            base_folds = unfold(file.old.read_at, file.old.size, unfolded_base.write, limit) if file.old else None
            new = _extent_of(unfolded)
            old, base = (_extent_of(unfolded_base), file.base) if base_folds else (None, None)
            listed = write_folds(folds, base_folds, with_blocks=file.encoding.profile.second_format)
            item = Item(Way.FOLDED, file.new.size, base, inner_length=new.size)
            yield Piece(item, {Role.FOLDS: listed}, scratch_bytes=old.size if old else 0)
            yield from _as_it_is(ChangedFile(file.encoding, new, old))

    def memory(self) -> int:
        """See ``Method``."""
        new, old, profile = self._file.new, self._file.old, self._file.encoding.profile
        if old is None:
            return 2 * _UNFOLDED_IN_MEMORY
        sizes = _UNFOLDED_FACTOR * old.size, _UNFOLDED_FACTOR * new.size
        if max(sizes) > profile.whole_file_bytes:
            return _window_memory(profile)
        return _search_memory(*sizes)

    def _scratch_file(self) -> BinaryIO:
        return spooled_file(self._file.encoding.scratch, _UNFOLDED_IN_MEMORY)


def _as_it_is(file: ChangedFile) -> Iterator[Piece]:
    start = _start(file.new)
    methods = (_unfolded(file, window, start) for window in range(file.windows))
    for method in methods:
        if method:
            yield from method.pieces()


def _useful_difference(file: ChangedFile, old: bytes, new: bytes) -> Difference | None:
    if not old:
        return None
    found = difference(old, new, file.encoding.profile.min_match_bytes)
    return found if _is_useful(file, found, new) else None


def _is_useful(file: ChangedFile, found: Difference, new: bytes) -> bool:
    if len(found.extra) <= _GOOD * len(new):
        return True
    if file.is_version or not file.encoding.much_is_new:
        return len(found.extra) <= _USELESS * len(new)
    return found.cost() < _WORTHWHILE * packed_bytes(new)


def _delta(found: Difference, base: int | None, offset: int, both: tuple[bytes, bytes], profile: Profile) -> Piece:
    """Return the piece that makes the new bytes of those that start at ``offset`` in the base."""
    runs = zero_runs.shorten(found.difference, zero_runs.SHORT_RUN if profile.second_format else zero_runs.RUN)
    old, new = (Extent(BytesReader(data), 0, len(data)) for data in both)
    return _piece(found, runs, base, offset, (old, new), profile)


def _piece(
    found: Difference,
    runs: tuple[bytes, bytes],
    base: int | None,
    offset: int,
    both: tuple[Extent, Extent],
    profile: Profile,
) -> Piece:
    """Return the piece of a delta whose runs of zeros are cut short."""
    sames, extras, seeks = zip(*found.controls, strict=True)
    streams = {
        Role.DIFF_LENGTHS: b"".join(map(leb128.encode, sames)),
        Role.EXTRA_LENGTHS: b"".join(map(leb128.encode, extras)),
        Role.SEEKS: b"".join(leb128.encode(leb128.zigzag(seek)) for seek in seeks),
        Role.DIFF: runs[0],
        Role.ZEROS: runs[1],
        Role.EXTRA: found.extra,
    }
    if profile.second_format:
        streams[Role.PREDICTIONS] = prediction_numbers(found)
    item = Item(Way.DELTA, sum(sames) + sum(extras), base, offset + found.start)
    return Piece(item, streams, beside=beside.packed(spans_of(found, *both)) if profile.mixes else b"")


def _search_memory(old_bytes: int, new_bytes: int) -> int:
    return (BYTES_PER_OLD_BYTE + 1) * old_bytes + _BYTES_PER_NEW_BYTE * new_bytes


def _window_memory(profile: Profile) -> int:
    return _search_memory(profile.window_bytes + 2 * profile.window_reach_bytes, profile.window_bytes)


class _FileReader:
    """A scratch file as a reader, for one thread."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.tell()

    def read_at(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(length)


def _extent_of(file: BinaryIO) -> Extent:
    reader = _FileReader(file)
    return Extent(reader, 0, reader.size)
