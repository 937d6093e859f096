"""What a file is, guessed from its name: how well it packs and how it changes depend on that."""

from __future__ import annotations

from enum import IntEnum


class FileKind(IntEnum):
    """Numbers in signatures; one that a reader does not know counts as ``OTHER``."""

    OTHER = 0
    NATIVE = 1
    """Machine code in ELF files."""
    MANAGED = 2
    """.NET assemblies and their symbols."""
    TEXT = 3
    BYTECODE = 4
    """Compiled Python."""
    PACKED = 5
    """Compressed already."""


_BY_ENDING = {
    **dict.fromkeys((b"so", b"node", b"dylib"), FileKind.NATIVE),
    **dict.fromkeys((b"dll", b"exe", b"pdb"), FileKind.MANAGED),
    **dict.fromkeys(
        (b"py", b"js", b"json", b"txt", b"html", b"xml", b"md", b"h", b"css", b"ts", b"map"), FileKind.TEXT
    ),
    **dict.fromkeys((b"pyc", b"a"), FileKind.BYTECODE),
    **dict.fromkeys((b"gz", b"xz", b"bz2", b"zst", b"zip", b"jar", b"whl", b"nupkg", b"jmod"), FileKind.PACKED),
    **dict.fromkeys((b"png", b"jpg", b"jpeg", b"gif", b"webp", b"woff", b"woff2", b"mp4", b"tgz"), FileKind.PACKED),
}


def kind_of(path: bytes) -> FileKind:
    """Return the guess for this path."""
    name = path.rsplit(b"/", 1)[-1].lower()
    if b".so." in name:  # libc.so.6, libicudata.so.72.1
        return FileKind.NATIVE
    return _BY_ENDING.get(name.rsplit(b".", 1)[-1], FileKind.OTHER) if b"." in name else FileKind.OTHER
