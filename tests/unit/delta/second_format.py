"""An image in which everything is that the second format has: what moved, digests of lists, blocks of gzip."""

from __future__ import annotations

from tests.images import BuiltImage, an_image
from tests.unit.delta.predict.programs import a_library
from tests.vectors import make

SECOND_FORMAT = ("v2-64m", "v2-64m-cm", "v2-64m-cm-thin")
"""The profiles with 64 MiB."""


def everything(version: int, references: tuple[str, ...] = ()) -> BuiltImage:
    """Return one of two versions: of programs, then of files and gzip files, then of lists of these files."""
    return _image(version, (make.PROGRAMS_1, make.PROGRAMS_2)[version - 1].layers[1], references)


def a_little_of_everything(version: int, references: tuple[str, ...] = ()) -> BuiltImage:
    """Return the same with one program, where it is made again and again."""
    moved = {30: b"\x90" * 7, 60: b"\xcc" * 33} if version == 2 else {}
    return _image(version, {"lib/library.so": a_library(90, moved)}, references)


def _image(version: int, programs: bytes | dict[str, bytes], references: tuple[str, ...]) -> BuiltImage:
    files = make.installed(version)
    lists = {path: files.pop(path) for path in list(files) if path.endswith(("RECORD", "md5sums"))}
    news = make.cut(b"news" * version + make.noise(300, 5).hex().encode() * 9)
    return an_image(programs, {**files, "news.gz": news, "again.gz": news}, lists, references=references)
