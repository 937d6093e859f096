"""Runs the steps that make a layer. Source: docs/formats/patch.md, section 4."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from imagedelta.delta import byte_sums
from imagedelta.delta.content import LayerReader, check_range
from imagedelta.delta.raw_streams import Tape
from imagedelta.delta.roles import Role
from imagedelta.delta.steps import KEPT, Kind, Step, StepReader
from imagedelta.delta.tar_structure import BLOCK
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded

PIECE_BYTES = byte_sums.PIECE_BYTES


class Output(Protocol):
    """Where the bytes of a layer go."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def takes_unread(self, source_number: int, offset: int, length: int) -> bool:
        """Whether these bytes of a source layer may stay unread, because the output knows them."""
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

    def takes_unread(self, source_number: int, offset: int, length: int) -> bool:
        """Nothing may: whoever makes a layer needs all of it."""
        return False

    def check(self, diff_id: str) -> None:
        """Hold the finished layer against its size and digest.

        Raises:
            DigestMismatch: It is not the layer that was promised.
        """
        if self.made != self._size or "sha256:" + self._digest.hexdigest() != diff_id:
            raise DigestMismatch(f"the rebuilt layer is not {diff_id}")


class Kept:
    """Bytes kept on the way because they occur again, in a file; a LayerReader."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self.size = 0

    def append(self, data: bytes) -> None:
        """Keep ``data`` after what is kept already.

        Raises:
            LimitExceeded: The head of the patch states less scratch.
        """
        if self.size + len(data) > self._limit:
            raise LimitExceeded(f"the patch keeps more than the {self._limit} bytes its head states")
        self._file.seek(self.size)
        self._file.write(data)
        self.size += len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """See ``LayerReader``."""
        check_range(offset, length, self.size)
        self._file.seek(offset)
        return self._file.read(length)


class LayerMaker:
    """Makes the rebuilt layers of a patch, in the order of its head."""

    def __init__(self, tapes: dict[Role, Tape], source_reader: Callable[[int], LayerReader], kept: Kept) -> None:
        self._tapes = tapes
        self._steps = StepReader(tapes)
        self._source_reader = source_reader
        self._kept = kept

    def make(self, size: int, output: Output | None) -> None:
        """Make the next layer.

        Args:
            size: Of the layer, in bytes.
            output: ``None`` to pass it by: streams move on, and only what is kept for later is made.

        Raises:
            ContentError: The steps do not fit the layer, a stream or a source.
        """
        made = 0
        while True:
            kind, keep, structure_length = self._steps.start()
            made = _within(made + structure_length, size)
            structure_end = self._structure(structure_length, output)
            if kind is Kind.END:
                break
            step = self._steps.finish(kind, keep, structure_length, structure_end)
            made = _within(made + step.length, size)
            self._run(step, output)
        if made != size:
            raise ContentError(f"the steps of a layer of {size} bytes end after {made}")

    def make_last(self, size: int, output: Output) -> None:
        """Make the last layer, and hold that all streams are used up before anyone commits it.

        Raises:
            ContentError: As ``make``, or a stream holds more.
        """
        self.make(size, output)
        for tape in self._tapes.values():
            tape.finish()

    def _structure(self, length: int, output: Output | None) -> bytes:
        end = b""
        for size in _pieces(length):
            piece = self._tapes[Role.STRUCTURE].read(size)
            if output:
                output.write(piece)
            end = (end + piece)[-BLOCK:]
        return end

    def _run(self, step: Step, output: Output | None) -> None:
        if output is None and not step.keep:
            self._pass_by(step)
            return
        from_layer = step.kind is Kind.COPY and step.source != KEPT and not step.keep
        if output and from_layer and output.takes_unread(step.source - 1, step.offset, step.length):
            return
        # A copy out of what is kept must not meet its own writing: pieces are read before they are kept.
        for piece in self._make(step):
            if output:
                output.write(piece)
            if step.keep:
                self._kept.append(piece)

    def _make(self, step: Step) -> Iterator[bytes]:
        if step.kind is Kind.COPY:
            return self._copied(step)
        if step.kind is Kind.DELTA:
            return self._changed(step)
        return self._literal(step)

    def _pass_by(self, step: Step) -> None:
        if step.kind is Kind.DELTA:
            for _ in self._changed(step, with_old=False):
                pass
        elif step.kind is not Kind.COPY:
            for _ in self._literal(step):
                pass

    def _copied(self, step: Step) -> Iterator[bytes]:
        reader = self._reader(step)
        check_range(step.offset, step.length, reader.size)
        offset = step.offset
        for size in _pieces(step.length):
            yield reader.read_at(offset, size)
            offset += size

    def _literal(self, step: Step) -> Iterator[bytes]:
        role = step.literal_role
        assert role is not None  # noqa: S101 - every kind but COPY, DELTA and END has one
        for size in _pieces(step.length):
            yield self._tapes[role].read(size)

    def _changed(self, step: Step, with_old: bool = True) -> Iterator[bytes]:
        """Add differences to old bytes, then extra bytes, as the controls say (bsdiff's scheme)."""
        reader = self._reader(step) if with_old else None
        if reader:
            check_range(step.offset, step.old_length, reader.size)
        position = made = 0
        while made < step.length:
            same, extra, seek = self._control(step.length - made)
            check_range(position, same, step.old_length)
            for size in _pieces(same):
                difference = self._tapes[Role.DIFF].read(size)
                if reader:
                    yield byte_sums.add(reader.read_at(step.offset + position, size), difference)
                position += size
            for size in _pieces(extra):
                yield self._tapes[Role.EXTRA].read(size)
            position += seek
            made += same + extra

    def _control(self, remaining: int) -> tuple[int, int, int]:
        same = self._tapes[Role.DIFF_LENGTHS].number()
        extra = self._tapes[Role.EXTRA_LENGTHS].number()
        seek = self._tapes[Role.SEEKS].signed()
        if not 0 < same + extra <= remaining:
            raise ContentError(f"a delta makes {same + extra} bytes where {remaining} are left")
        return same, extra, seek

    def _reader(self, step: Step) -> LayerReader:
        return self._kept if step.source == KEPT else self._source_reader(step.source - 1)


def _within(made: int, size: int) -> int:
    if made > size:
        raise ContentError(f"the steps of a layer of {size} bytes make {made}")
    return made


def _pieces(length: int) -> Iterator[int]:
    while length > 0:
        yield min(length, PIECE_BYTES)
        length -= PIECE_BYTES
