"""Columns in memory, and headers to put into them."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence

from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.format.header_columns import BLOCK, Column, HeaderReader, HeaderWriter

Columns = dict[Column, bytes]


def a_header(name: str = "usr/bin/x", **fields: object) -> bytes:
    """Return a ustar header as Python's tarfile writes it."""
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def with_checksum(block: bytes, form: str = "%06o\0 ") -> bytes:
    """Return the header with the checksum of its bytes."""
    total = sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")
    return block[:148] + (form % total).encode() + block[156:]


def patched(block: bytes, start: int, value: bytes) -> bytes:
    """Return the header with other bytes at an offset, and the checksum that fits."""
    return with_checksum(block[:start] + value + block[start + len(value) :])


def split(*headers: tuple[bytes, bytes | None]) -> tuple[Columns, list[bool]]:
    """Write headers, each with its reference; return the columns and which headers were taken."""
    columns: Columns = dict.fromkeys(Column, b"")

    def write(column: Column, data: bytes) -> None:
        columns[column] += data

    writer = HeaderWriter(write)
    return columns, [writer.write(block, reference) for block, reference in headers]


def reader_of(columns: Columns) -> tuple[HeaderReader, dict[Column, StreamTape]]:
    """Return a reader of the columns, and its tapes."""
    tapes = {
        column: StreamTape(column.name, iter([data] if data else []), len(data)) for column, data in columns.items()
    }
    return HeaderReader(tapes), tapes


def joined(columns: Columns, references: Sequence[bytes | None]) -> list[bytes]:
    """Read one header per reference and hold that the columns end there."""
    reader, tapes = reader_of(columns)
    blocks = [reader.read(reference) for reference in references]
    for tape in tapes.values():
        tape.finish()
    assert all(len(block) == BLOCK for block in blocks)
    return blocks
