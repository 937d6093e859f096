"""The raw streams of a patch as the device reads them: forward, and never past the size that the head states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

from imagedelta import leb128
from imagedelta.delta.format.coders import MIXED_DIFFERENCES, NextDictionary, coder
from imagedelta.delta.format.header import PatchHeader, PatchStream
from imagedelta.delta.format.mixing import MixedDifferences
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ContentError, Truncated
from imagedelta.slices import SliceReader

_MORE = 0x80
"""Bit of all bytes of a number but the last."""


class StreamTape:
    """The decoded bytes of one stream; the form of ``Tape``, and how it ends."""

    def __init__(self, name: str, pieces: Iterator[bytes], raw_bytes: int) -> None:
        self._name = name
        self._pieces = pieces
        self._raw_bytes = raw_bytes
        self._produced = 0
        self._piece = b""
        self._at = 0

    def read(self, length: int) -> bytes:
        """See ``Tape``."""
        end = self._at + length
        if end <= len(self._piece):
            data = self._piece[self._at : end]
            self._at = end
            return data
        return self._read_across(length)

    def some(self, most: int) -> bytes:
        """See ``Tape``."""
        if self._at == len(self._piece):
            self._advance()
        data = self._piece[self._at : self._at + most]
        self._at += len(data)
        return data

    def unread(self, count: int) -> None:
        """See ``Tape``."""
        self._at -= count

    def number(self) -> int:
        """See ``Tape``."""
        piece, at = self._piece, self._at
        if at + 1 < len(piece):  # nearly all have one byte or two, and there are a great many
            value = piece[at]
            if value < _MORE:
                self._at = at + 1
                return value
            more = piece[at + 1]
            if more < _MORE:
                self._at = at + 2
                return value - _MORE | more << 7
        return self._long_number()

    def signed(self) -> int:
        """See ``Tape``."""
        return leb128.unzigzag(self.number())

    def finish(self) -> None:
        """Check that every byte was used, and that the coded stream ends here with the size its head states.

        Raises:
            ContentError: Something is left over, or the head states more.
        """
        if self._at != len(self._piece) or next(self._pieces, None) is not None:
            raise ContentError(f"patch stream {self._name} has more than the patch uses")
        if self._produced != self._raw_bytes:
            raise ContentError(f"patch stream {self._name} of {self._raw_bytes} bytes decodes to {self._produced}")

    def _long_number(self) -> int:
        while True:
            try:
                value, self._at = leb128.decode(self._piece, self._at)
            except Truncated:  # it goes on in the next piece
                begun = self._piece[self._at :]
                self._advance()
                self._piece = begun + self._piece
            else:
                return value

    def _read_across(self, length: int) -> bytes:
        pieces = [self._piece[self._at :]]
        missing = length - len(pieces[0])
        self._at = len(self._piece)
        while missing:
            self._advance()
            piece = self._piece[:missing]
            pieces.append(piece)
            self._at = len(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _advance(self) -> None:
        piece = next(self._pieces, None)
        if not piece:
            raise Truncated(f"patch stream {self._name} ends before the patch does")
        self._produced += len(piece)
        if self._produced > self._raw_bytes:
            raise ContentError(f"patch stream {self._name} decodes to more than {self._raw_bytes} bytes")
        self._piece, self._at = piece, 0


class CodedStreams:
    """The coded streams of a patch, each opened as a tape."""

    def __init__(self, patch: BinaryIO, start: int, header: PatchHeader) -> None:
        """Args:
        patch: Seekable.
        start: Offset of the first stream.
        """
        self._streams: dict[Role, tuple[PatchStream, BinaryIO]] = {}
        for stream in header.streams:
            coded = cast(BinaryIO, SliceReader(patch, start, stream.coded_bytes))
            self._streams[stream.role] = stream, coded
            start += stream.coded_bytes

    def tape(self, role: Role, next_dictionary: NextDictionary | None = None) -> StreamTape:
        """Return the tape of a role; it is empty where the patch has no such stream.

        Args:
            next_dictionary: What the stream may be coded against; others may not.
        """
        if role not in self._streams:
            return StreamTape(role.name, iter(()), 0)
        stream, coded = self._streams[role]
        reader = coder(stream.coder).reader(stream.params, next_dictionary or _no_dictionary)
        return StreamTape(role.name, reader.pieces(coded), stream.raw_bytes)

    def mixed_differences(self) -> MixedDifferences | None:
        """Return the differences where they are coded beside the old bytes, else None."""
        if Role.DIFF not in self._streams:
            return None
        stream, coded = self._streams[Role.DIFF]
        if stream.coder != MIXED_DIFFERENCES:
            return None
        del self._streams[Role.DIFF]
        return MixedDifferences(coded, stream.raw_bytes, stream.params.bits)


def _no_dictionary(limit: int) -> Iterator[bytes]:
    raise ContentError("a patch stream is coded against old text that it cannot have")
