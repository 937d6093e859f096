"""The raw streams of a patch as the device reads them: forward, and never past the size that the head states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

from imagedelta.delta.format import numbers
from imagedelta.delta.format.coders import NextPrime, coder
from imagedelta.delta.format.header import PatchHeader, PatchStream
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ContentError, Truncated
from imagedelta.slices import SliceReader


class Tape:
    """Decoded bytes of one stream, read forward and never past the size its head states."""

    def __init__(self, name: str, pieces: Iterator[bytes], raw_bytes: int) -> None:
        self._name = name
        self._pieces = pieces
        self._raw_bytes = raw_bytes
        self._produced = 0
        self._piece = b""
        self._at = 0

    def read(self, length: int) -> bytes:
        """Return exactly ``length`` bytes.

        Raises:
            Truncated: The stream has fewer.
            ContentError: It is damaged, or decodes to more than its head states.
        """
        end = self._at + length
        if end <= len(self._piece):
            data = self._piece[self._at : end]
            self._at = end
            return data
        return self._read_across(length)

    def some(self, most: int) -> bytes:
        """Return 1 to ``most`` bytes: what is at hand.

        Raises:
            Truncated: The stream has none left.
        """
        if self._at == len(self._piece):
            self._advance()
        data = self._piece[self._at : self._at + most]
        self._at += len(data)
        return data

    def unread(self, count: int) -> None:
        """Take back the last bytes that ``some`` returned."""
        self._at -= count

    def number(self) -> int:
        """Return the next number."""
        value = shift = 0
        while True:
            if self._at == len(self._piece):
                self._advance()
            byte = self._piece[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift >= 7 * numbers.MAX_BYTES:
                raise ContentError(f"patch stream {self._name}: a number of more than 64 bits")

    def signed(self) -> int:
        """Return the next number that may be negative."""
        return numbers.unzigzag(self.number())

    def finish(self) -> None:
        """Hold that every byte was used, and that the coded stream ends here with the size its head states.

        Raises:
            ContentError: Something is left over, or the head states more.
        """
        if self._at != len(self._piece) or next(self._pieces, None) is not None:
            raise ContentError(f"patch stream {self._name} holds more than the patch uses")
        if self._produced != self._raw_bytes:
            raise ContentError(f"patch stream {self._name} of {self._raw_bytes} bytes decodes to {self._produced}")

    def _read_across(self, length: int) -> bytes:
        parts = [self._piece[self._at :]]
        missing = length - len(parts[0])
        self._at = len(self._piece)
        while missing:
            self._advance()
            part = self._piece[:missing]
            parts.append(part)
            self._at = len(part)
            missing -= len(part)
        return b"".join(parts)

    def _advance(self) -> None:
        piece = next(self._pieces, None)
        if not piece:
            raise Truncated(f"patch stream {self._name} ends before the patch does")
        self._produced += len(piece)
        if self._produced > self._raw_bytes:
            raise ContentError(f"patch stream {self._name} decodes to more than {self._raw_bytes} bytes")
        self._piece, self._at = piece, 0


def open_tapes(patch: BinaryIO, start: int, header: PatchHeader, primes: Mapping[Role, NextPrime]) -> dict[Role, Tape]:
    """Return a tape for every role; a role without a stream has an empty one.

    Args:
        patch: Seekable.
        start: Offset of the first stream.
        primes: What primed streams are coded against; no other stream may be primed.
    """
    tapes = {role: Tape(role.name, iter(()), 0) for role in Role}
    for stream in header.streams:
        coded = cast(BinaryIO, SliceReader(patch, start, stream.coded_bytes))
        tapes[stream.role] = Tape(
            stream.role.name, _pieces(stream, coded, primes.get(stream.role, _no_prime)), stream.raw_bytes
        )
        start += stream.coded_bytes
    return tapes


def _no_prime(limit: int) -> Iterator[bytes]:
    raise ContentError("a patch stream is coded against old text that it cannot have")


def _pieces(stream: PatchStream, coded: BinaryIO, next_prime: NextPrime) -> Iterator[bytes]:
    yield from coder(stream.coder).reader(stream.params, next_prime).pieces(coded)
