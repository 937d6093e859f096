"""One 512-byte tar header and one pax extended header: bytes in, fields out.

Reads what Docker, GNU tar, bsdtar, Go and Python write: v7, ustar, pax and GNU headers, base-256 numbers.
Own code because the file index needs the offset of every header and byte of data, which tarfile hides,
and because a declared size must be checked before anything is read.
Not here: how headers follow each other (imagedelta.archives.tar_members).

Source: POSIX.1-2001 pax interchange format; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagedelta.octal import octal

BLOCK = 512
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,9}) ")
_MAX_SIZE = (1 << 63) - 1

KINDS = ("file", "hardlink", "symlink", "character", "block", "directory", "fifo", "other")
_KIND_OF_TYPE = {
    b"\0": "file",
    b"0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "character",
    b"4": "block",
    b"5": "directory",
    b"6": "fifo",
}
_WITHOUT_DATA = frozenset({"hardlink", "symlink", "character", "block", "directory", "fifo"})


@dataclass(frozen=True, slots=True)
class TarHeader:
    """The fields of one header that say where things are."""

    type: bytes
    name: bytes
    link: bytes
    size: int
    """The size field; what follows the header is ``stored(size)``."""
    more_sparse_blocks: bool

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        return _KIND_OF_TYPE.get(self.type, "other")

    def stored(self, size: int) -> int:
        """Bytes that follow: none for links, devices and folders, whatever their size field says."""
        return 0 if self.kind in _WITHOUT_DATA else size


def parse_header(block: bytes) -> TarHeader | None:
    """Read one header block; ``None`` when its checksum or a number in it says that it is none."""
    size = parse_number(block[124:136])
    if size is None or not _checksum_fits(block):
        return None
    posix = block[257:263] == b"ustar\0"
    name = _text(block[0:100])
    prefix = _text(block[345:500]) if posix else b""
    return TarHeader(
        type=block[156:157],
        name=prefix + b"/" + name if prefix else name,
        link=_text(block[157:257]),
        size=size,
        more_sparse_blocks=block[156:157] == b"S" and block[482] != 0,
    )


def parse_number(field: bytes) -> int | None:
    """Read an octal or base-256 field of 0 to 2**63 - 1; ``None`` if it is neither."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value if field[0] == 0x80 and value <= _MAX_SIZE else None
    digits = field.strip(b" \0")
    return octal(digits) if digits else 0


def parse_pax(data: bytes) -> dict[bytes, bytes] | None:
    """Read the records of a pax extended header; ``None`` when they are malformed.

    A record is ``<length> <key>=<value>\\n``, the length in decimal and counting all of it.
    """
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        length = _PAX_LENGTH.match(data, at)
        if length is None:
            return None
        end = at + int(length[1])
        key, equals, value = data[length.end() : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            return None
        records[key] = value
        at = end
    return records


def _checksum_fits(block: bytes) -> bool:
    stated = parse_number(block[148:156])
    unsigned = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
    if stated == unsigned:
        return True
    high = sum(byte >> 7 for byte in block[:148] + block[156:])
    return stated == unsigned - 256 * high  # some old tars summed signed bytes


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]
