"""Runs the items that make a layer. Source: docs/formats/patch.md, section 4."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from imagedelta.delta.content import Extent, LayerReader
from imagedelta.delta.decode.deltas import Deltas
from imagedelta.delta.decode.differences import sizes
from imagedelta.delta.decode.listing import Passing
from imagedelta.delta.decode.scratch import Scratch
from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.deflate.fold_list import read_folds
from imagedelta.delta.deflate.folding import Folder
from imagedelta.delta.deflate.folds import BaseFold, Fold
from imagedelta.delta.deflate.unfolding import unfold
from imagedelta.delta.format.items import STREAM_OF, Item, ItemReader, ReadItem, Way
from imagedelta.delta.format.listed import Fills, Listed, Mark, Marked
from imagedelta.delta.format.references import Member, References
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded
from imagedelta.limits import MIB

_STAMP = slice(8, 12)
"""Where a .pyc has the time of its source (PEP 552)."""
_STAMP_END = 12


_UNFOLDING_AT_LEAST = MIB
"""What unfolding the smallest base counts: the search in it takes time, too."""


class Output(Protocol):
    """Where the bytes of a layer go."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def takes_unread(self, member: Member, item: Item) -> bool:
        """Whether an item that repeats a whole member may stay unmade, because the output knows its bytes."""
        ...


class LayerOutput:
    """Passes the bytes of a layer on, hashing and counting them."""

    def __init__(self, write: Callable[[bytes], object], size: int) -> None:
        self._write = write
        self._size = size
        self._digest = hashlib.sha256()
        self.made = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes; more than the layer's size are refused before they are passed on."""
        self.made += len(data)
        if self.made > self._size:
            raise ContentError(f"a layer of {self._size} bytes becomes longer")
        self._digest.update(data)
        self._write(data)

    def takes_unread(self, member: Member, item: Item) -> bool:
        """None may: whoever makes a layer needs all of it."""
        return False

    def check(self, diff_id: str) -> None:
        """Compare the finished layer with its size and digest.

        Raises:
            DigestMismatch: It is not the layer that was promised.
        """
        if self.made != self._size or "sha256:" + self._digest.hexdigest() != diff_id:
            raise DigestMismatch(f"the rebuilt layer is not {diff_id}")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a patch is applied to."""

    references: References
    open_layer: Callable[[int], LayerReader]
    """Number of a source layer → its bytes."""


class LayerMaker:
    """Makes the rebuilt layers of a patch, in the order of its head."""

    def __init__(
        self,
        tapes: Mapping[Role, StreamTape],
        deltas: Deltas,
        sources: Sources,
        scratch: Scratch,
        unfolding_bytes: int,
        *,
        second_format: bool,
    ) -> None:
        """Args:
        unfolding_bytes: Most that may be read and made to unfold bases.
        second_format: Whether the patch is of a profile ``v2-``.
        """
        self._tapes = tapes
        self._second_format = second_format
        self._deltas = deltas
        self._unfolding_bytes = unfolding_bytes
        self._items = ItemReader(tapes, sources.references, may_mark=second_format)
        self._listed = Listed()
        self._passing: Passing | None = None
        """The marked data that is made now."""
        self._sources = sources
        self._scratch = scratch

    def make(self, size: int, output: Output | None) -> None:
        """Make the next layer.

        Args:
            size: Of the layer, in bytes.
            output: ``None`` to pass it by: streams move on, and only what is kept for later is made.

        Raises:
            ContentError: The items do not fit the layer, a stream or a source.
        """
        made = 0
        while True:
            read = self._items.read()
            made = _within(made + read.zeros + len(read.header) + read.item.length, size)
            if output:
                output.write(bytes(read.zeros) + read.header)
            if self._passing and (read.header or read.marked or read.item.way is Way.END):
                raise ContentError(f"the data of a file whose digests are listed ends {self._passing.left} bytes early")
            if read.marked:
                self._passing = self._begun(read.marked)
            if read.item.length:
                self._run(read, output)
            if read.item.way is Way.END:
                break
        if made != size:
            raise ContentError(f"the items of a layer of {size} bytes end after {made}")

    def make_last(self, size: int, output: Output) -> None:
        """Make the last layer, and check that all streams are used up before anyone commits it.

        Raises:
            ContentError: As ``make``, or bytes of a stream are left over.
        """
        self.make(size, output)
        self.finish()

    def finish(self) -> None:
        """Check that all streams are used up.

        Raises:
            ContentError: Bytes of a stream are left over.
        """
        self._deltas.finish()
        for tape in self._tapes.values():
            tape.finish()

    def _begun(self, marked: Marked) -> Passing:
        number = self._tapes[Role.DIGESTS].number
        fills = Fills(number, marked.length, self._listed) if Mark.FILLED in marked.marks else None
        return Passing(marked, fills, self._listed)

    def _run(self, read: ReadItem, output: Output | None) -> None:
        item, passing = read.item, self._passing
        whole = item.way in (Way.SAME, Way.STAMPED) or (item.way is Way.COPY and _is_whole(read))
        is_free = not item.keep and passing is None
        if output and whole and is_free and read.member and output.takes_unread(read.member, item):
            return
        needed = output is not None or item.keep or (passing is not None and passing.is_listed)
        made = 0
        # Bytes out of what is kept must not meet their own writing: pieces are read before they are kept.
        with closing(self._pieces(read, needed=needed)) as pieces:  # where writing fails, scratch goes at once
            for data in pieces:
                piece = passing.filled(data) if passing else data
                made += len(piece)
                if output:
                    output.write(piece)
                if item.keep:
                    self._scratch.kept.append(piece)
        if made != item.length and needed:
            raise ContentError(f"an item of {item.length} bytes makes {made}")
        if passing:
            passing.skip(item.length - made)
            self._end_of(passing)

    def _end_of(self, passing: Passing) -> None:
        if passing.left < 0:
            raise ContentError("the items of a file whose digests are listed make too much")
        if not passing.left:
            passing.end()
            self._passing = None

    def _pieces(self, read: ReadItem, needed: bool) -> Generator[bytes, None, None]:
        """Yield the data of an item; where it is not needed, only move the streams on."""
        item, member = read.item, read.member
        if item.way is Way.FOLDED:
            yield from self._folded(item, member, needed)
        elif item.way is Way.KEPT:
            if needed:
                yield from self._scratch.kept.pieces(item.offset, item.length)
        else:
            wants_base = needed or (item.way is Way.DELTA and self._deltas.need_old)
            yield from self._plain(item, self._base(member) if wants_base and member else None, needed)

    def _plain(self, item: Item, base: Extent | None, needed: bool) -> Iterator[bytes]:
        if item.way is Way.END:
            return map(bytes, sizes(item.length))
        if item.way is Way.DELTA:
            return self._deltas.pieces(item, base)
        if item.way in STREAM_OF:
            return map(self._tapes[STREAM_OF[item.way]].read, sizes(item.length))
        if not needed:
            return iter(())
        if base is None:
            raise ContentError("a patch item copies from no member")
        copied = base.pieces(item.offset, item.length)
        return _stamped(copied, item.stamp) if item.way is Way.STAMPED else copied

    def _base(self, member: Member) -> Extent:
        return Extent(self._sources.open_layer(member.layer), member.offset, member.size)

    def _folded(self, item: Item, member: Member | None, needed: bool) -> Iterator[bytes]:
        """Make the unfolded form by the items that follow, and fold it again."""
        if member is None:
            folds = self._read_folds(None, item)
            yield from self._fold(item, folds, None, needed)
            return
        whole = self._base(member)
        self._take_unfolding(whole.size + _UNFOLDING_AT_LEAST)
        with self._scratch.unfolded_base() as unfolded:

            def append(data: bytes) -> None:
                self._take_unfolding(len(data))
                unfolded.append(data)

            base_folds = unfold(whole.read_at, whole.size, append)
            if base_folds is None:
                raise ContentError("a patch unfolds a member that has no unfolded form")
            folds = self._read_folds(base_folds, item)
            yield from self._fold(item, folds, Extent(unfolded, 0, unfolded.size), needed)

    def _read_folds(self, base_folds: Sequence[BaseFold] | None, item: Item) -> list[Fold]:
        number = self._tapes[Role.FOLDS].number
        return read_folds(number, base_folds, item.inner_length, with_blocks=self._second_format)

    def _take_unfolding(self, size: int) -> None:
        self._unfolding_bytes -= size
        if self._unfolding_bytes < 0:
            raise LimitExceeded("the patch unfolds more than an image of its size has use for")

    def _fold(self, item: Item, folds: list[Fold], base: Extent | None, needed: bool) -> Iterator[bytes]:
        out: list[bytes] = []
        folder = Folder(iter(folds), out.append, item.inner_length)
        left = item.inner_length
        while left:
            inner = self._items.read().item
            left = _left(left, inner.length)
            for piece in self._plain(inner, base, needed):
                if needed:
                    folder.write(piece)
                    yield from out
                    out.clear()
        if needed:
            folder.finish()


def _is_whole(read: ReadItem) -> bool:
    return read.member is not None and read.item.offset == 0 and read.item.length == read.member.size


def _stamped(pieces: Iterator[bytes], stamp: int) -> Iterator[bytes]:
    first = next(pieces, b"")
    if len(first) < _STAMP_END or stamp >> 32:
        raise ContentError("a patch item stamps what is no .pyc")
    yield first[: _STAMP.start] + stamp.to_bytes(4, "little") + first[_STAMP_END:]
    yield from pieces


def _left(left: int, made: int) -> int:
    if made > left:
        raise ContentError("the items inside a folded one make too much")
    return left - made


def _within(made: int, size: int) -> int:
    if made > size:
        raise ContentError(f"the items of a layer of {size} bytes make {made}")
    return made
