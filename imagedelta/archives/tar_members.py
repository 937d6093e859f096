"""The members of a tar, one after the other, with the place of every header and every byte of data.

The strict walk is for archives, where anything odd is refused. The lenient walk is for layers, where
anything odd is stepped over block by block: such bytes belong to no member and are carried as they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from imagedelta.archives.tar_headers import BLOCK, TarHeader, parse_header, parse_pax
from imagedelta.errors import ContentError, LimitExceeded, Truncated
from imagedelta.limits import Limits

_ZEROS = bytes(BLOCK)
_PAX_TYPES = (b"x", b"X")
_LONG_NAME, _LONG_LINK, _GLOBAL_PAX = b"L", b"K", b"g"
_EXTENSIONS = (*_PAX_TYPES, _LONG_NAME, _LONG_LINK, _GLOBAL_PAX)


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member; offsets count from the start of the tar."""

    path: bytes
    """As stored, GNU and pax long names applied."""
    kind: str
    """One of ``tar_headers.KINDS``."""
    link: bytes
    header_offset: int
    """Where its first header block starts, extension headers included."""
    offset: int
    """Where its data starts."""
    size: int
    """Bytes of data stored, without padding; for a sparse file that is less than its length."""
    sparse: bool = False
    """Its holes are not stored (imagedelta.archives.sparse)."""

    @property
    def end(self) -> int:
        """Where the next header starts: the data's end, rounded up to a block."""
        return self.offset + -(-self.size // BLOCK) * BLOCK


class Tape(Protocol):
    """Forward reading with a known position."""

    position: int

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""

    def skip(self, size: int) -> int:
        """Pass over up to ``size`` bytes; return how many there were."""


class SeekTape:
    """A tape over a seekable stream: skipping reads nothing."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.length = stream.seek(0, io.SEEK_END)
        self.position = stream.seek(0)

    def read(self, size: int) -> bytes:
        """See Tape."""
        data = read_exactly(self._stream, size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> int:
        """See Tape."""
        passed = min(size, self.length - self.position)
        self.position = self._stream.seek(self.position + passed)
        return passed


def walk_tar(tape: Tape, limits: Limits, *, strict: bool, max_members: int) -> Iterator[TarMember]:
    """Yield the members in order; the caller may read a member's data from ``tape`` before asking on.

    Args:
        tape: At the start of the tar.
        limits: Bounds path and pax sizes.
        strict: Refuse what is no tar, and stop at its end mark; otherwise step over it to the last byte.
        max_members: Members beyond this many are refused.

    Raises:
        LimitExceeded: More members than ``max_members``; strict: a name or pax header over its limit.
        Truncated: Strict, and the tar ends inside a member.
        ContentError: Strict, and a block that should be a header is none.
    """
    walk = _Walk(tape, limits, strict)
    for count, member in enumerate(walk.members(), 1):
        if count > max_members:
            raise LimitExceeded(f"tar with more than {max_members} members")
        yield member
        walk.pass_data(member)


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end, also from a stream that answers in pieces."""
    data = stream.read(size)
    if len(data) == size or not data:
        return data
    pieces = [data]
    missing = size - len(data)
    while missing and (data := stream.read(missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)


@dataclass(slots=True)
class _Extensions:
    """What extension headers said about the member that follows them."""

    start: int
    name: bytes | None = None
    link: bytes | None = None
    pax: dict[bytes, bytes] = field(default_factory=dict)


class _Walk:
    def __init__(self, tape: Tape, limits: Limits, strict: bool) -> None:
        self._tape = tape
        self._limits = limits
        self._strict = strict
        self._pending: _Extensions | None = None

    def members(self) -> Iterator[TarMember]:
        while True:
            start = self._tape.position
            block = self._tape.read(BLOCK)
            if len(block) < BLOCK:
                if block:
                    self._refuse_if_strict(Truncated("the tar ends inside a header"))
                return
            if block == _ZEROS:
                self._pending = None
                if self._strict:
                    return
                continue
            header = parse_header(block)
            if header is None:
                self._refuse_if_strict(_no_header(start))
                self._pending = None
            elif header.type in _EXTENSIONS:
                self._read_extension(header, start)
            else:
                yield self._member(header, start)

    def pass_data(self, member: TarMember) -> None:
        missing = member.end - self._tape.position
        if missing > 0 and self._tape.skip(missing) < missing and self._strict:
            raise Truncated(f"the tar ends inside {_shown(member.path)}")

    def _member(self, header: TarHeader, start: int) -> TarMember:
        extensions = self._pending or _Extensions(start)
        self._pending = None
        if header.more_sparse_blocks:
            self._pass_sparse_map()
        path = extensions.pax.get(b"GNU.sparse.name") or extensions.pax.get(b"path") or extensions.name
        link = extensions.pax.get(b"linkpath") or extensions.link
        return TarMember(
            path=self._bounded(path or header.name),
            kind=header.kind,
            link=self._bounded(link or header.link),
            header_offset=extensions.start,
            offset=self._tape.position,
            size=header.stored(self._size(header, extensions)),
            sparse=header.type == b"S" or any(key.startswith(b"GNU.sparse.") for key in extensions.pax),
        )

    def _size(self, header: TarHeader, extensions: _Extensions) -> int:
        stated = extensions.pax.get(b"size")
        if stated is None:
            return header.size
        if stated.isdigit() and len(stated) < 19:
            return int(stated)
        self._refuse_if_strict(ContentError(f"pax size {_shown(stated)} is no size"))
        return header.size

    def _bounded(self, path: bytes) -> bytes:
        if len(path) > self._limits.max_path_bytes:
            self._refuse_if_strict(LimitExceeded(f"a path of {len(path)} bytes in the tar"))
        return path[: self._limits.max_path_bytes]

    def _pass_sparse_map(self) -> None:
        """Old GNU sparse files: the map goes on in blocks whose byte 504 says whether another follows."""
        more = True
        while more:
            block = self._tape.read(BLOCK)
            more = len(block) == BLOCK and block[504] != 0

    def _read_extension(self, header: TarHeader, start: int) -> None:
        if self._pending is None:
            self._pending = _Extensions(start)
        padded = -(-header.size // BLOCK) * BLOCK
        if header.size > self._limits.max_pax_bytes:
            self._refuse_if_strict(LimitExceeded(f"extended tar header of {header.size} bytes"))
            self._tape.skip(padded)
            return
        data = self._tape.read(padded)
        if len(data) < padded:
            self._refuse_if_strict(Truncated("the tar ends inside an extended header"))
        self._apply_extension(header.type, data[: header.size])

    def _apply_extension(self, kind: bytes, data: bytes) -> None:
        assert self._pending is not None  # noqa: S101 - set by the only caller
        if kind == _LONG_NAME:
            self._pending.name = data.split(b"\0", 1)[0]
        elif kind == _LONG_LINK:
            self._pending.link = data.split(b"\0", 1)[0]
        elif kind in _PAX_TYPES:
            records = parse_pax(data)
            if records is None:
                self._refuse_if_strict(ContentError("malformed pax header"))
            self._pending.pax.update(records or {})

    def _refuse_if_strict(self, error: ContentError) -> None:
        if self._strict:
            raise error


def _no_header(offset: int) -> ContentError:
    if offset == 0:
        return ContentError("it is no tar: it does not begin with a tar header", code="content.not_an_image")
    return ContentError(f"the tar is damaged at offset {offset}: no header is where one belongs")


def _shown(path: bytes) -> str:
    return repr(path[:100].decode("utf-8", "replace"))
