"""Where the named files of an archive are: inside a tar, or in a folder. Nothing is ever extracted."""

from __future__ import annotations

import posixpath
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Protocol

from imagedelta.archives.tar_members import SeekTape, TarMember, walk_tar
from imagedelta.archives.unpacking import Section
from imagedelta.errors import ContentError, LimitExceeded, UnsafePath
from imagedelta.limits import Limits

_MAX_LINKS = 8


class Store(Protocol):
    """Files by name, relative, with ``/`` between the parts."""

    def has(self, name: str) -> bool:
        """Tell whether there is a regular file of that name."""

    def section(self, name: str) -> Section:
        """Return the file's bytes, to be read from the start; the caller closes it.

        Raises:
            ContentError: ``content.blob_missing``: there is no such file.
        """


def read_small(store: Store, name: str, limit: int) -> bytes:
    """Read a whole file of at most ``limit`` bytes.

    Raises:
        LimitExceeded: It is larger; nothing was read.
        ContentError: ``content.blob_missing``.
    """
    with closing(store.section(name)) as section:
        if section.length > limit:
            raise LimitExceeded(f"{name} has {section.length} bytes, at most {limit}")
        return b"".join(iter(lambda: section.read(limit), b""))


class TarStore:
    """The members of an uncompressed tar on a seekable stream.

    Duplicate names are refused, because two readers could choose different ones; so are names that would
    leave a folder, although nothing here writes them: the next reader of such an archive might.
    """

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        """Raises:
        ContentError: No tar, or one that breaks a rule above; subclasses name the reason.
        """
        self._stream = stream
        self._members: dict[str, TarMember] = {}
        tape = SeekTape(stream)
        for member in walk_tar(tape, limits, strict=True, max_members=limits.max_archive_members):
            self._add(member)

    def has(self, name: str) -> bool:
        """See Store."""
        member = self._resolve(name)
        return member is not None

    def section(self, name: str) -> Section:
        """See Store."""
        member = self._resolve(name)
        if member is None:
            raise missing(name)
        return Section(self._stream, member.offset, member.size)

    def _add(self, member: TarMember) -> None:
        name = safe_name(member.path)
        if member.kind == "directory":
            return
        if name in self._members:
            raise ContentError(f"{name!r} is in the archive twice", code="content.duplicate_member")
        self._members[name] = member

    def _resolve(self, name: str) -> TarMember | None:
        """Follow links: ``docker save`` links a layer that two images share."""
        for _ in range(_MAX_LINKS):
            member = self._members.get(name)
            if member is None or member.kind == "file":
                return member
            folder = posixpath.dirname(name) if member.kind == "symlink" else ""
            name = safe_name(posixpath.normpath(posixpath.join(folder.encode(), member.link)))
        raise ContentError(f"more than {_MAX_LINKS} links from {name!r}")


class FolderStore:
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
    """Return the name as clean text without a leading ``./``.

    Raises:
        UnsafePath: Absolute, leaving its folder, or no UTF-8.
    """
    try:
        name = path.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafePath(f"archive member {path[:100]!r} is not named in UTF-8") from None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise UnsafePath(f"archive member {name[:100]!r} would leave its folder")
    return "/".join(parts)


def missing(name: str) -> ContentError:
    """The error for a name that the archive refers to but does not hold."""
    return ContentError(f"the archive refers to {name[:200]!r} but does not hold it", code="content.blob_missing")
