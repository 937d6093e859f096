"""Items: how a layer is made, front to back. An item is a tar header, the data of a file, or both.

Everything is written as the difference from what a reader expects by then: the header from that of the next
member of the source, the data from the data of the same member, the length from what the header states. Of
a layer that did not change, each member is one zero byte.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

from imagedelta import leb128
from imagedelta.delta.format.header_columns import Column, HeaderReader, HeaderWriter
from imagedelta.delta.format.listed import ALL_MARKS, Mark, Marked
from imagedelta.delta.format.references import Member
from imagedelta.delta.format.roles import COLUMN_ROLES, Role
from imagedelta.delta.format.tape import Tape
from imagedelta.delta.format.tar_walk import BLOCK, data_size
from imagedelta.errors import ContentError, LimitExceeded, UnsupportedFormat
from imagedelta.limits import MOST_UNFOLDED

END_ZEROS = 2 * BLOCK
"""A tar ends with two blocks of zeros."""


class Way(IntEnum):
    """What makes the data of an item. This is all that "way" means here."""

    SAME = 0
    """All data of the header's reference; nothing where the header states no data."""
    STAMPED = 1
    """All data of a member, with another time in the head of a .pyc."""
    COPY = 2
    """A part of a member's data."""
    DELTA = 3
    """A member's data, and differences."""
    LITERAL = 4
    CODE = 5
    TEXT = 6
    OLD_TEXT = 7
    KEPT = 8
    """Bytes that were kept on the way."""
    FOLDED = 9
    """What the next items make, deflated again."""
    ODD = 10
    """Tar bytes outside file data that fit no columns."""
    NONE = 11
    """Nothing: the data comes with the next items."""
    END = 12
    """Zeros up to the end of the layer."""


HEADLESS, ODD_HEADER, MARKED, KEEP = 0x10, 0x20, 0x40, 0x80
_WAY_BITS = 0x0F
WITH_BASE = frozenset({Way.STAMPED, Way.COPY, Way.DELTA})
STREAM_OF = {
    Way.LITERAL: Role.LITERAL,
    Way.CODE: Role.CODE,
    Way.TEXT: Role.TEXT,
    Way.OLD_TEXT: Role.OLD_TEXT,
    Way.ODD: Role.ODD,
}
_INSIDE_FOLDS = frozenset({Way.COPY, Way.DELTA, Way.LITERAL, Way.CODE, Way.TEXT})
_MAY_BE_KEPT = frozenset(Way) - {Way.KEPT, Way.ODD, Way.NONE, Way.END}


@dataclass(frozen=True, slots=True)
class Item:
    """What an item makes behind its header. Fields a way does not use stay 0."""

    way: Way
    length: int = 0
    """Bytes of data; of the zeros for END."""
    base: int | None = None
    """Number of a member; ``None`` where the data is not made of one."""
    offset: int = 0
    """In the base's data, or in the kept bytes."""
    stamp: int = 0
    inner_length: int = 0
    """FOLDED: bytes that the next items make."""
    keep: bool = False
    """The data occurs again: keep a copy."""


@dataclass(frozen=True, slots=True)
class Header:
    """A tar header of the target."""

    block: bytes
    """512 bytes."""
    reference: int | None
    """The member it resembles."""


class Streams(Protocol):
    """Where an ItemWriter writes."""

    def write(self, role: Role, data: bytes) -> None: ...


class FindMember(Protocol):
    """References, as items need them."""

    def member(self, number: int, /) -> Member: ...


class Expected:
    """What both sides expect next."""

    def __init__(self) -> None:
        self.reference = 0
        self.base = 0
        self.offset = 0
        self.kept = 0
        self.stamp = 0
        self.start_layer()

    def start_layer(self) -> None:
        self.position = 0
        self.length = 0
        self._inner = 0

    @property
    def folding(self) -> bool:
        """Whether the next items make the inside of a FOLDED one."""
        return self._inner > 0

    @property
    def padding(self) -> int:
        return -self.position % BLOCK

    def header(self, block: bytes, reference: int | None) -> None:
        """Account for the padding and the header of an item."""
        self.position += self.padding + BLOCK
        self.length = data_size(block)
        self.offset = 0
        if reference is None:
            self.base += 1
        else:
            self.reference = reference + 1
            self.base = reference

    def data(self, item: Item) -> None:
        """Account for the data of an item."""
        if item.way is Way.FOLDED:
            self._outer = max(0, self.length - item.length)
            self.position += item.length
            self._inner = self.length = item.inner_length
            self.offset = 0
            return
        if item.base is not None:
            self.base = item.base
        if item.way is Way.KEPT:
            self.kept = item.offset + item.length
        else:
            self.offset = item.offset + item.length
        self.length = max(0, self.length - item.length)
        if self._inner:
            self._leave_fold_after(item.length)
        else:
            self.position += item.length

    def _leave_fold_after(self, length: int) -> None:
        self._inner -= length
        if self._inner <= 0:
            self._inner = 0
            self.length = self._outer


class ItemWriter:
    """Writes items to their streams."""

    def __init__(self, streams: Streams, references: FindMember) -> None:
        self._streams = streams
        self._references = references
        self._expected = Expected()
        self._headers = HeaderWriter(lambda column, data: streams.write(Role(Role.MASKS + column), data))

    def write(self, item: Item, header: Header | None = None, marked: Marked | None = None) -> None:
        """Append an item; the digests of a ``FILLED`` one follow in their stream."""
        flags = (KEEP if item.keep else 0) | (MARKED if marked else 0)
        if header is None:
            flags |= HEADLESS
        elif not self._header(header):
            flags |= ODD_HEADER
            item = _without_reference(item, header)
        self._streams.write(Role.ITEMS, bytes([item.way | flags]))
        if marked:
            self._number(Role.DIGESTS, marked.marks)
            self._signed(Role.DIGESTS, marked.length - self._expected.length)
        self._data(item)
        self._expected.data(item)
        if item.way is Way.END:
            self._expected.start_layer()

    def _header(self, header: Header) -> bool:
        """Write a header; return False where it fits no columns and goes as it is, without its reference."""
        expected = self._expected
        member = None if header.reference is None else self._references.member(header.reference)
        if self._headers.write(header.block, member.header if member else None):
            self._number(Role.REFERENCES, _reference_code(header.reference, expected.reference))
            expected.header(header.block, header.reference)
            return True
        self._streams.write(Role.ODD, header.block)
        expected.header(header.block, None)
        return False

    def _data(self, item: Item) -> None:
        expected = self._expected
        if item.way is Way.END:
            self._signed(Role.LENGTHS, item.length - expected.padding - END_ZEROS)
            return
        if item.way in (Way.SAME, Way.NONE):
            return
        if item.way in WITH_BASE and not expected.folding:
            assert item.base is not None  # noqa: S101 - these ways have one
            self._signed(Role.BASES, item.base - expected.base)
            if item.base != expected.base:
                expected.offset = 0
        if item.way is Way.STAMPED:
            self._signed(Role.STAMPS, item.stamp - expected.stamp)
            expected.stamp = item.stamp
            return
        self._signed(Role.LENGTHS, item.length - expected.length)
        if item.way in (Way.COPY, Way.DELTA):
            self._signed(Role.OFFSETS, item.offset - expected.offset)
        elif item.way is Way.KEPT:
            self._signed(Role.OFFSETS, item.offset - expected.kept)
        elif item.way is Way.FOLDED:
            self._number(Role.BASES, 0 if item.base is None else 1 + leb128.zigzag(item.base - expected.base))
            self._signed(Role.LENGTHS, item.inner_length - item.length)

    def _number(self, role: Role, value: int) -> None:
        self._streams.write(role, leb128.encode(value))

    def _signed(self, role: Role, value: int) -> None:
        self._streams.write(role, leb128.encode(leb128.zigzag(value)))


@dataclass(frozen=True, slots=True)
class ReadItem:
    """An item as it comes out of a patch."""

    zeros: int
    """Padding before the header."""
    header: bytes
    """512 bytes, or none."""
    item: Item
    member: Member | None
    """The item's base."""
    marked: Marked | None = None
    """The data that it begins."""


class ItemReader:
    """Reads what ItemWriter wrote."""

    def __init__(self, tapes: Mapping[Role, Tape], references: FindMember, *, may_mark: bool) -> None:
        """Args:
        may_mark: Whether the patch is of the second format, whose items may be marked.
        """
        self._tapes = tapes
        self._may_mark = may_mark
        self._references = references
        self._expected = Expected()
        self._headers = HeaderReader({Column(role - Role.MASKS): tapes[role] for role in COLUMN_ROLES})

    def read(self) -> ReadItem:
        """Return the next item.

        Raises:
            UnsupportedFormat: A way or flag this version does not know.
            ContentError: A number out of its range, or an item where it may not be.
        """
        byte = self._tapes[Role.ITEMS].read(1)[0]
        way, keep, headless = self._parse(byte)
        zeros, header, member = 0, b"", None
        if not headless:
            zeros = self._expected.padding
            header, member = self._header(odd=bool(byte & ODD_HEADER))
        marked = self._marked() if byte & MARKED else None
        item, member = self._data(way, keep, member)
        self._expected.data(item)
        if way is Way.END:
            self._expected.start_layer()
        return ReadItem(zeros, header, item, member, marked)

    def _marked(self) -> Marked:
        marks = self._tapes[Role.DIGESTS].number()
        if not 0 < marks <= ALL_MARKS:
            raise UnsupportedFormat(f"patch item with the marks {marks}")
        return Marked(Mark(marks), _at_least(1, self._tapes[Role.DIGESTS].signed() + self._expected.length))

    def _parse(self, byte: int) -> tuple[Way, bool, bool]:
        number, keep, headless = byte & _WAY_BITS, bool(byte & KEEP), bool(byte & HEADLESS)
        marked = bool(byte & MARKED)
        if number > Way.END or (marked and not self._may_mark) or (headless and byte & ODD_HEADER):
            raise UnsupportedFormat(f"patch item {byte}")
        way = Way(number)
        if keep and (way not in _MAY_BE_KEPT or self._expected.folding):
            raise UnsupportedFormat(f"patch item {byte} cannot be kept")
        if marked and way in (Way.ODD, Way.END):
            raise ContentError(f"patch item {byte} with digests of no file")
        if self._expected.folding and (not headless or marked or way not in _INSIDE_FOLDS):
            raise ContentError(f"patch item {byte} inside a folded one")
        if headless and way in (Way.SAME, Way.NONE):
            raise ContentError("patch item that makes nothing")
        if not headless and way in (Way.ODD, Way.END):
            raise ContentError(f"patch item {byte} with a header")
        return way, keep, headless

    def _header(self, *, odd: bool) -> tuple[bytes, Member | None]:
        expected, member, reference = self._expected, None, None
        if odd:
            block = self._tapes[Role.ODD].read(BLOCK)
        else:
            code = self._tapes[Role.REFERENCES].number()
            if code != 1:
                reference = expected.reference + (leb128.unzigzag(code - 1) if code else 0)
                member = self._references.member(reference)
            block = self._headers.read(member.header if member else None)
        expected.header(block, reference)
        return block, member

    def _data(self, way: Way, keep: bool, member: Member | None) -> tuple[Item, Member | None]:
        expected, tapes = self._expected, self._tapes
        if way is Way.SAME:
            if member is None and expected.length:
                raise ContentError("patch item with the data of a member it does not name")
            return Item(way, member.size if member and expected.length else 0, keep=keep), member
        if way is Way.NONE:
            return Item(way), None
        if way is Way.END:
            return Item(way, _at_least(0, tapes[Role.LENGTHS].signed() + expected.padding + END_ZEROS)), None
        base = None
        if way in WITH_BASE and not expected.folding:
            base, member = self._base(tapes[Role.BASES].signed(), member)
        if way is Way.STAMPED:
            assert member is not None  # noqa: S101 - just found
            expected.stamp += tapes[Role.STAMPS].signed()
            return Item(way, member.size, base, stamp=expected.stamp, keep=keep), member
        length = _at_least(1, tapes[Role.LENGTHS].signed() + expected.length)
        if way is Way.FOLDED:
            return self._folded(length, keep, member)
        offset = 0
        if way in (Way.COPY, Way.DELTA):
            offset = _at_least(0, tapes[Role.OFFSETS].signed() + expected.offset)
        elif way is Way.KEPT:
            offset = _at_least(0, tapes[Role.OFFSETS].signed() + expected.kept)
        return Item(way, length, base, offset, keep=keep), member

    def _folded(self, length: int, keep: bool, member: Member | None) -> tuple[Item, Member | None]:
        code = self._tapes[Role.BASES].number()
        base, member = self._base(leb128.unzigzag(code - 1), member) if code else (None, None)
        inner = _at_least(1, self._tapes[Role.LENGTHS].signed() + length)
        if inner > MOST_UNFOLDED * length:
            raise LimitExceeded(f"{inner} bytes that are deflated to {length}")
        return Item(Way.FOLDED, length, base, inner_length=inner, keep=keep), member

    def _base(self, difference: int, member: Member | None) -> tuple[int, Member]:
        expected = self._expected
        base = expected.base + difference
        if difference:
            expected.offset = 0
        if difference or member is None:
            member = self._references.member(base)
        return base, member


def _without_reference(item: Item, header: Header) -> Item:
    """Name the member whose data an item repeats, where its header can no longer say it."""
    if item.way is Way.SAME and item.length:
        return replace(item, way=Way.COPY, base=header.reference)
    return item


def _at_least(least: int, value: int) -> int:
    if value < least:
        raise ContentError(f"patch item: a length or offset of {value}")
    return value


def _reference_code(reference: int | None, expected: int) -> int:
    if reference is None:
        return 1
    return 0 if reference == expected else 1 + leb128.zigzag(reference - expected)
