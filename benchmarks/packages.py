"""Files of images, taken from fetched wheels: site-packages as pip leaves them, folders of wheels, made-up copies.

Nothing here asks the machine for its time or user. Byte code is compiled by this Python, in a process of its own with
a fixed hash seed: the same bytes every time, but other bytes with another minor version of Python.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from demo.layers import File
from demo.wheels import Wheel

SITE = "usr/local/lib/python3.11/dist-packages"
_FILES_PER_SECOND = 400
"""How fast a build writes its files: neighbours share a time."""
_BLOCK = 4096
_COMPILE_SECONDS = 30
"""How long after the sources a build writes the byte code."""

Version = tuple[str, str]
"""Name and version of a pinned wheel."""


class Packages:
    """The fetched wheels, by name and version. A context manager."""

    def __init__(self, paths: Mapping[Wheel, Path]) -> None:
        self._archives = {(wheel.name, wheel.version): zipfile.ZipFile(path) for wheel, path in paths.items()}

    def __enter__(self) -> Packages:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archives.values():
            archive.close()

    def contents(self, package: Version, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """(path below ``prefix``, content) of every file of a wheel below ``prefix``."""
        archive = self._archives[package]
        for info in archive.infolist():
            if info.filename.startswith(prefix) and not info.is_dir():
                yield info.filename.removeprefix(prefix), archive.read(info)


def stamped(
    contents: Iterable[tuple[str, bytes]], folder: str, epoch: int, *, executable: Sequence[str] = ()
) -> list[File]:
    """Files below ``folder`` with the times that a build which starts at ``epoch`` gives them, in order of paths.

    Args:
        executable: Ends of the names that get mode 755.
    """
    files = []
    for position, (path, content) in enumerate(sorted(contents)):
        mode = 0o755 if executable and path.endswith(tuple(executable)) else 0o644
        time = epoch + position // _FILES_PER_SECOND
        files.append(File(f"{folder}/{path}", time, partial(bytes, content), mode=mode))
    return files


def site_packages(packages: Packages, wanted: Sequence[Version], epoch: int) -> list[File]:
    """What ``pip install`` leaves: the packages' files with the times of the build, and their byte code."""
    contents = {
        path: content
        for package in wanted
        for path, content in packages.contents(package)
        if ".data/" not in path  # scripts and headers: pip would rewrite or drop them
    }
    sources = stamped(contents.items(), SITE, epoch, executable=(".so",))
    return [*sources, *_byte_code(sources, epoch + _COMPILE_SECONDS)]


def _byte_code(sources: Sequence[File], epoch: int) -> list[File]:
    """Compiled as pip does: the header of each holds the time and size of its source."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for file in sources:
            if file.path.endswith(".py") and file.read is not None:
                path = root / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
                os.utime(path, (file.mtime, file.mtime))
        command = [sys.executable, "-m", "compileall", "-q", "-j", "1", "-s", name, "-p", "/"]
        command += ["--invalidation-mode", "timestamp", name]
        # What does not compile (templates, sources for other Pythons) is left out, as pip leaves it out.
        subprocess.run(  # noqa: S603 - our own interpreter
            command, env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, check=False
        )
        made = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.pyc")}
    tag = f".{sys.implementation.cache_tag}."
    return [
        File(path.replace(tag, ".cpython-311."), epoch, partial(bytes, content))
        for path, content in sorted(made.items())
    ]


def another_copy(content: bytes, number: int) -> bytes:
    """The content with eight bytes of every 4 KiB replaced, by others for each ``number``: alike, never the same.

    Repeating packages this way makes images of any size that no tool can shrink by finding the same file twice.
    """
    if number == 0 or len(content) < 16:
        return content
    made = bytearray(content)
    for start in range(0, len(made) - 8, _BLOCK):
        made[start : start + 8] = hashlib.sha256(b"%d:%d" % (number, start)).digest()[:8]
    return bytes(made)
