"""Where the named files of an archive are: inside a tar, or in a folder. Nothing is ever extracted."""

from __future__ import annotations

import posixpath
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from imagedelta.archives.sparse import sparse_section
from imagedelta.archives.tar_members import SeekTape, TarMember, walk_tar
from imagedelta.archives.unpacking import Section
from imagedelta.errors import ContentError, LimitExceeded, UnsafePath
from imagedelta.limits import Limits, over_limit

_MAX_LINKS = 8


class Store(ABC):
    """Files by name, relative, with ``/`` between the parts."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Tell whether there is a regular file of that name."""

    @abstractmethod
    def section(self, name: str) -> Section:
        """Return the file's bytes, to be read from the start; the caller closes it.

        Raises:
            ContentError: ``content.blob_missing``: there is no such file.
        """

    def read_small(self, name: str, limit: int) -> bytes:
        """Read a whole file of at most ``limit`` bytes.

        Raises:
            LimitExceeded: It is larger; nothing was read.
            ContentError: ``content.blob_missing``.
        """
        return read_whole(self.section(name), name, limit)


def read_document(store: Store, name: str, limits: Limits) -> bytes:
    """Read the list of an archive's images; see ``Store.read_small``."""
    try:
        return store.read_small(name, limits.max_manifest_bytes)
    except LimitExceeded:
        raise over_limit(
            f"{name} is larger than the list of an archive's images may be", "manifest-bytes", limits
        ) from None


def read_whole(section: Section, name: str, limit: int) -> bytes:
    """Read a section of at most ``limit`` bytes, and close it; see ``Store.read_small``."""
    with closing(section):
        if section.length > limit:
            raise LimitExceeded(f"{name} has {section.length} bytes, at most {limit}")
        return b"".join(iter(lambda: section.read(limit), b""))


class TarStore(Store):
    """The members of an uncompressed tar on a seekable stream.

    Of several members with one name the last counts, as for every tool that extracts them. A document must be the
    same in all of them, because tools that do not extract take the first; other files have a digest to prove.
    Names that would leave a folder are refused although nothing here writes them: the next reader of such an archive
    might.
    """

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        """Raises:
        ContentError: No tar, or one that breaks a rule above; subclasses name the reason.
        """
        self._stream = stream
        self._limits = limits
        self._members: dict[str, TarMember] = {}
        self._earlier: dict[str, list[TarMember]] = {}
        for member in self._walk():
            self._add(member)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files and links, in the archive's order."""
        return tuple(self._members)

    def has(self, name: str) -> bool:
        """See Store."""
        member = self._resolve(name)
        return member is not None

    def section(self, name: str) -> Section:
        """See Store."""
        member = self._resolve(name)
        if member is None:
            raise missing(name)
        return self._section(member)

    def read_small(self, name: str, limit: int) -> bytes:
        """See Store.

        Raises:
            ContentError: ``content.duplicate_member``: it is there twice with different bytes.
        """
        data = super().read_small(name, limit)
        for earlier in self._earlier.get(name, ()):
            if earlier.kind == "file" and read_whole(self._section(earlier), name, limit) != data:
                raise ContentError(
                    f"{name!r} is in the archive twice, with different contents", code="content.duplicate_member"
                )
        return data

    def _walk(self) -> Iterator[TarMember]:
        most = self._limits.max_archive_members
        members = walk_tar(SeekTape(self._stream), self._limits, strict=True, max_members=most + 1)
        for count, member in enumerate(members, 1):
            if count > most:
                raise over_limit(f"an archive of more than {most} files and folders", "archive-members", self._limits)
            yield member

    def _section(self, member: TarMember) -> Section:
        if member.sparse:
            return sparse_section(self._stream, member, self._limits)
        return Section(self._stream, member.offset, member.size)

    def _add(self, member: TarMember) -> None:
        name = safe_name(member.path)
        if member.kind == "directory":
            return
        if name in self._members:
            self._earlier.setdefault(name, []).append(self._members.pop(name))
        self._members[name] = member

    def _resolve(self, name: str) -> TarMember | None:
        """Follow links: ``docker save`` links a layer that two images share."""
        for _ in range(_MAX_LINKS):
            member = self._members.get(name)
            if member is None or member.kind == "file":
                return member
            folder = posixpath.dirname(name) if member.kind == "symlink" else ""
            name = safe_name(posixpath.join(folder.encode(), member.link))
        raise ContentError(f"more than {_MAX_LINKS} links from {name!r}")


class FolderStore(Store):
    """The files of a folder; each section opens its file and closes it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, name: str) -> bool:
        """See Store."""
        return self._path(name).is_file()

    def section(self, name: str) -> Section:
        """See Store."""
        path = self._path(name)
        if not path.is_file():
            raise missing(name)
        return Section(path.open("rb"), 0, path.stat().st_size, owned=True)

    def _path(self, name: str) -> Path:
        return self._root / safe_name(name.encode())


def safe_name(path: bytes) -> str:
    """Return the name as Docker takes it: without a leading ``/`` or ``./``, and ``a/../b`` as ``b``.

    Raises:
        UnsafePath: It leaves its folder.
    """
    name = posixpath.normpath(path.decode("utf-8", "surrogateescape").lstrip("/"))
    if name == ".." or name.startswith("../"):
        raise UnsafePath(f"archive member {name[:100]!r} would leave its folder")
    return name


def missing(name: str) -> ContentError:
    """The error for a name that the archive refers to but does not hold."""
    return ContentError(f"the archive refers to {name[:200]!r} but does not hold it", code="content.blob_missing")
