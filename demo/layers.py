"""Layer tars whose bytes depend on nothing but what goes in: the same diff_id on every machine.

Every header field is fixed: owner root, mode and time given, members in order of their path parts, parent
folders once, no padding beyond the two zero blocks that end a tar.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_BLOCK = 512


@dataclass(frozen=True)
class File:
    """A file or symbolic link inside a layer."""

    path: str
    """Relative, with ``/``."""
    mtime: int
    """Seconds since 1970."""
    read: Callable[[], bytes] | None = None
    link: str | None = None
    mode: int = 0o644


@dataclass(frozen=True)
class Layer:
    """A written layer tar."""

    diff_id: str
    path: Path
    size: int


def text_file(path: str, content: str, mtime: int) -> File:
    """A small file with its content spelt out."""
    return File(path, mtime, content.encode)


def write_layer(files: Iterable[File], path: Path, folder_mtime: int) -> Layer:
    """Write ``files`` and their parent folders as a ustar layer. Memory: the largest file.

    Raises:
        ValueError: Two files have the same path.
    """
    by_path: dict[tuple[str, ...], File] = {}
    for file in files:
        parts = tuple(file.path.split("/"))
        if parts in by_path:
            raise ValueError(f"{file.path} is twice in the layer")
        by_path[parts] = file
    with path.open("wb") as stream:
        hashed = _Hashed(stream)
        written: set[tuple[str, ...]] = set()
        for parts in sorted(by_path):
            _write_parents(hashed, parts, written, folder_mtime)
            _write_file(hashed, by_path[parts])
        hashed.write(bytes(2 * _BLOCK))
    return Layer(f"sha256:{hashed.digest.hexdigest()}", path, hashed.size)


class _Hashed:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self.digest.update(data)
        self.size += len(data)


def _write_parents(out: _Hashed, parts: tuple[str, ...], written: set[tuple[str, ...]], mtime: int) -> None:
    for depth in range(1, len(parts)):
        folder = parts[:depth]
        if folder not in written:
            written.add(folder)
            header = _header("/".join(folder), mtime, 0o755)
            header.type = tarfile.DIRTYPE
            out.write(header.tobuf(tarfile.USTAR_FORMAT))


def _write_file(out: _Hashed, file: File) -> None:
    header = _header(file.path, file.mtime, file.mode)
    if file.link is not None:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, file.link, 0o777
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        return
    content = file.read() if file.read else b""
    header.size = len(content)
    out.write(header.tobuf(tarfile.USTAR_FORMAT))
    out.write(content)
    out.write(bytes(-len(content) % _BLOCK))


def _header(name: str, mtime: int, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mtime, header.mode = mtime, mode
    header.uname = header.gname = ""
    return header
