"""Frames of programs (coders 7 and 8, section 5 of docs/formats/patch.md) for the second reader."""

from __future__ import annotations

import lzma

from tests.vectors.predicted_net import Net

OPCODES = bytes.fromhex("03393b6383898b8d")
PLACES = bytes.fromhex("050d151d252d353d")
MIB = 1_048_576


def frames(data: bytes, dictionary: int) -> bytes:
    made = b""
    while data:
        kind, chain = data[0], [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary}]
        if kind:
            chain.insert(0, {"id": lzma.FILTER_X86})
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
        frame = decoder.decompress(data[1:])
        assert decoder.eof
        data = decoder.unused_data
        assert len(frame) >= MIB or not data
        made += as_it_was(frame, kind)
    return made


def as_it_was(frame: bytes, kind: int) -> bytes:
    assert kind in (0, 1)
    return with_rows(relative(frame) if kind else frame)


def relative(frame: bytes) -> bytes:
    out, at = bytearray(frame), 0
    while at < len(frame):
        operand = _operand(frame, at)
        if operand is None or operand + 4 > len(frame):
            at += 1
            continue
        at = operand + 4
        value = int.from_bytes(frame[operand:at], "little", signed=True)
        if -(2**24) <= value < 2**24:
            value = (value - at + 2**24) % 2**25 - 2**24
            out[operand:at] = value.to_bytes(4, "little", signed=True)
    return bytes(out)


def _operand(data: bytes, at: int) -> int | None:
    """Return where the operand begins of what may be an instruction at ``at``."""
    if data[at] == 0xFF:
        place = at + 1
    elif data[at] // 16 == 4 and data[at + 1 : at + 2] and data[at + 1] in OPCODES:
        place = at + 2
    else:
        return None
    return place + 1 if data[place : place + 1] and data[place] in PLACES else None


class _Root(Net):
    """The root of metadata, cut after 1,024 bytes, and what describes its tables."""

    def __init__(self, data: bytes) -> None:
        self.data, self.start = data, 0
        self.streams = self._streams()

    def place(self) -> tuple[int, int] | None:
        place = self.streams.get(b"#~")
        return place if place and place[0] <= 4 * MIB and b"#Pdb" not in self.streams else None

    def describe(self, data: bytes, size: int) -> None:
        self.data, self.streams = data, {b"#~": (0, size)}
        self._read_tables()


def with_rows(frame: bytes) -> bytes:
    out, at = bytearray(frame), 0
    while (root := frame.find(b"BSJB", at)) >= 0:
        at = root + 1024
        try:
            head = _Root(frame[root:at])
            place = head.place()
            if place is None:
                continue
        except (IndexError, ValueError):
            continue
        start = root + place[0]
        at = start + 1024
        try:
            head.describe(frame[start:at], place[1])
        except (IndexError, ValueError, KeyError):
            continue
        tables = [table for table in head.tables.values() if table[1]]
        end = tables[-1][0] + tables[-1][1] * tables[-1][2] if tables else 0
        if end > MIB or start + end > len(frame):
            continue
        at = max(at, start + end)
        for place_of, rows, width, columns in tables:
            where = start + place_of
            out[where : where + rows * width] = _rows(frame[where : where + rows * width], rows, width, columns)
    return bytes(out)


def _rows(data: bytes, rows: int, width: int, columns: list[tuple[str, int, int]]) -> bytes:
    out, at = bytearray(len(data)), 0
    for kind, offset, size in columns:
        value = 0
        for row in range(rows):
            number = int.from_bytes(data[at : at + size], "little")
            at += size
            value = number if kind in ("u2", "u4", "guid") else (value + number) % 256**size
            place = row * width + offset
            out[place : place + size] = value.to_bytes(size, "little")
    return bytes(out)
