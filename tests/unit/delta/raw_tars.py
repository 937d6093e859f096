"""Tars made block by block, so that every odd one that tools have ever written can be made; nothing is checked."""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
USTAR, GNU, V7 = b"ustar\x0000", b"ustar  \0", bytes(8)


def octal(value: int, width: int) -> bytes:
    """Return a number as ustar writes it: digits, then a zero byte."""
    return f"{value:0{width - 1}o}\0".encode()


def base_256(value: int, width: int) -> bytes:
    """Return a number as GNU tar writes those that octal digits cannot hold, negative ones too."""
    first = 0x80 if value >= 0 else 0xFF
    return bytes([first]) + (value % 256 ** (width - 1)).to_bytes(width - 1, "big")


def a_header(
    name: bytes,
    size: int = 0,
    *,
    kind: bytes = b"0",
    mtime: int = 1_600_000_000,
    mode: int = 0o644,
    link: bytes = b"",
    magic: bytes = USTAR,
    device: tuple[int, int] | None = None,
    size_field: bytes | None = None,
    mtime_field: bytes | None = None,
    fields: dict[int, bytes] | None = None,
) -> bytes:
    """Return 512 bytes with the canonical checksum.

    Args:
        size_field: 12 bytes instead of ``size`` in octal; likewise ``mtime_field``.
        fields: Offset → bytes that are put there, whatever belongs there.
    """
    block = bytearray(BLOCK)
    parts = {
        0: name,
        100: octal(mode, 8) + octal(0, 8) + octal(0, 8),
        124: octal(size, 12) if size_field is None else size_field,
        136: octal(mtime, 12) if mtime_field is None else mtime_field,
        156: kind + link,
        257: magic,
    }
    if device is not None:
        parts[329] = octal(device[0], 8) + octal(device[1], 8)
    for at, data in {**parts, **(fields or {})}.items():
        block[at : at + len(data)] = data
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * ord(" ") + sum(block[156:]))
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Return data as it stands in a tar, zeros up to the next block behind it."""
    return data + bytes(-len(data) % BLOCK)


def a_file(name: bytes, data: bytes, **options: object) -> bytes:
    """Return a header, data and padding; ``options`` as ``a_header``."""
    return a_header(name, len(data), **options) + padded(data)  # type: ignore[arg-type]


def pax(**records: bytes | int) -> bytes:
    """Return a pax extended header; ``_`` in the name of a record stands for ``.``."""
    body = b"".join(_pax_record(name.replace("_", ".").encode(), value) for name, value in records.items())
    return a_file(b"PaxHeaders/x", body, kind=b"x")


def _pax_record(name: bytes, value: bytes | int) -> bytes:
    rest = b" " + name + b"=" + (b"%d" % value if isinstance(value, int) else value) + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def gnu_long(kind: bytes, text: bytes) -> bytes:
    """Return the GNU header for a long name (``L``) or link name (``K``) of the next member."""
    return a_file(b"././@LongLink", text + b"\0", kind=kind, magic=GNU, mtime=0)


def gnu_sparse(name: bytes, parts: list[tuple[int, bytes]], real_size: int, *, mtime: int = 1_600_000_000) -> bytes:
    """Return an old GNU sparse file: four parts in the header, 21 in each block that follows it."""
    pieces = [octal(at, 12) + octal(len(data), 12) for at, data in parts]
    first, rest = pieces[:4], pieces[4:]
    map_fields = {386: b"".join(first), 482: bytes([bool(rest)]), 483: octal(real_size, 12)}
    stored = b"".join(data for _, data in parts)
    blocks = b""
    while rest:
        block, rest = rest[:21], rest[21:]
        blocks += b"".join(block).ljust(504, b"\0") + bytes([bool(rest)]) + bytes(7)
    header = a_header(name, len(stored), kind=b"S", magic=GNU, mtime=mtime, fields=map_fields)
    return header + blocks + padded(stored)


def pax_sparse(name: bytes, parts: list[tuple[int, bytes]], real_size: int, *, mtime: int = 1_600_000_000) -> bytes:
    """Return a sparse file in pax form 1.0: the map is in front of the data, in blocks of its own."""
    numbers = [len(parts), *(number for at, data in parts for number in (at, len(data)))]
    data_map = padded(b"".join(b"%d\n" % number for number in numbers))
    records = pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_name=name, GNU_sparse_realsize=real_size)
    stored = data_map + b"".join(data for _, data in parts)
    return records + a_file(b"GNUSparseFile.0/x", stored, mtime=mtime)
