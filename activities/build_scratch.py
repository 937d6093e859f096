"""What a build that takes many steps has made so far: blobs that outlive a worker, each named by what it is.

A name ends with the digest of its bytes: whatever reads them knows whether they are those that were written. Names
begin with the patch and the version of this program, since what it keeps between two steps is private to one version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imagedelta import __version__
from imagedelta.errors import ContentError
from imagedelta.limits import MIB
from services.ports import BlobRange, Blobs

CONTAINER = "scratch"
_UNKNOWN = "joined"
"""In the place of a digest."""


class DamagedScratch(Exception):
    """A blob of the build has other bytes than were written, or none; it is deleted, to be made again."""


@dataclass(frozen=True)
class Part:
    """Of a blob to be composed: small bytes, or a blob of the scratch."""

    size: int
    data: bytes = b""
    what: str = ""


def own_part(data: bytes) -> Part:
    """Bytes that are no blob."""
    return Part(len(data), data)


class BuildScratch:
    """The blobs of one build. ``what`` names one, as ``raw.12.00003``; there is one of each name."""

    def __init__(self, blobs: Blobs, patch_id: str) -> None:
        self.blobs = blobs
        self._all = f"build.{patch_id}."
        self._prefix = f"{self._all}{__version__}."
        self._names: dict[str, str] = {}
        for info in blobs.list(CONTAINER, self._prefix):
            what, _, _ = info.name.removeprefix(self._prefix).rpartition(".")
            self._names[what] = info.name

    def __contains__(self, what: str) -> bool:
        return what in self._names

    def starting(self, start: str) -> list[str]:
        """What is there whose name starts so, in order."""
        return sorted(what for what in self._names if what.startswith(start))

    def put(self, what: str, file: BinaryIO) -> None:
        """Keep the bytes of a file, whatever its position, also in the place of what was damaged."""
        name = f"{self._prefix}{what}.{_digest(_pieces(file))}"
        self.blobs.put(CONTAINER, name, _pieces(file))
        self._names[what] = name

    def read(self, what: str) -> bytes:
        """Raises: DamagedScratch; DependencyError."""
        return b"".join(self._checked(what))

    def fetch(self, what: str, path: Path) -> None:
        """Copy it to a file of this machine.

        Raises: DamagedScratch; DependencyError; OSError.
        """
        with path.open("wb") as out:
            for piece in self._checked(what):
                out.write(piece)

    def part(self, what: str) -> Part:
        """All of a blob.

        Raises: DamagedScratch when it is gone.
        """
        info = self.blobs.info(CONTAINER, self._name(what))
        if info is None:
            self.drop(what)
            raise DamagedScratch(what)
        return Part(info.size, what=what)

    def compose(self, what: str, parts: Sequence[Part]) -> BlobRange:
        """Have the storage join parts; their digests are not looked at."""
        self.drop(what)
        self._names[what] = name = f"{self._prefix}{what}.{_UNKNOWN}"
        ranges = [
            BlobRange(CONTAINER, self._name(part.what), 0, part.size) if part.what else part.data for part in parts
        ]
        return BlobRange(CONTAINER, name, 0, self.blobs.compose_if_absent(CONTAINER, name, ranges).size)

    def read_at(self, what: str, offset: int, length: int) -> bytes:
        """A part of it; only its length is checked.

        Raises: DamagedScratch; DependencyError.
        """
        try:
            return self.blobs.read_at(CONTAINER, self._name(what), offset, length)
        except ContentError as error:
            self.drop(what)
            raise DamagedScratch(what) from error

    def digest(self, what: str) -> str:
        """The digest in its name."""
        return self._name(what).rpartition(".")[2]

    def drop(self, what: str) -> None:
        """Forget it; what follows from it is made again."""
        if name := self._names.pop(what, None):
            self.blobs.delete(CONTAINER, name)

    def remove(self) -> None:
        """Delete all of the build, also what other versions of this program made."""
        for info in list(self.blobs.list(CONTAINER, self._all)):
            self.blobs.delete(CONTAINER, info.name)
        self._names.clear()

    def _range(self, part: Part) -> BlobRange:
        return BlobRange(CONTAINER, self._name(part.what), 0, part.size)

    def _name(self, what: str) -> str:
        if what not in self._names:
            raise DamagedScratch(what)
        return self._names[what]

    def _checked(self, what: str) -> Iterator[bytes]:
        name, digest = self._name(what), hashlib.sha256()
        with suppress(ContentError), self.blobs.open(CONTAINER, name) as stream:
            for piece in _pieces(stream):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != self.digest(what):
            self.drop(what)
            raise DamagedScratch(what)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(MIB):
        yield piece


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
