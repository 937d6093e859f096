"""A part of a table has the references of the whole table that lie in it, wherever it begins and ends."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Callable

import pytest

from imagedelta.delta.predict import elf_records, elf_tables
from imagedelta.delta.predict.elf_records import Moves
from imagedelta.delta.predict.elf_tables import Frames, Relocations, Symbols
from imagedelta.delta.predict.steps import Steps
from imagedelta.delta.predict.tables import Table

AT = 104
"""Where the table is in its file."""
ADDRESS = 0x800000
MOVES = Moves(
    Steps(array("q", [0, AT + 700]), array("q", [0, 24])),
    Steps(array("q", [0x1000]), array("q", [-0x1000])),
    Steps(array("q", [0x1000, 0x4000, 0x9000]), array("q", [16, -32, 48])),
)


def frames(rnd: random.Random) -> bytes:
    """Entries of 24 to 300 bytes behind one that all name."""
    made = bytearray(struct.pack("<II", 12, 0) + b"\1zPLR\0".ljust(8, b"\0"))
    for _ in range(40):
        more = rnd.choice([0, 4, 20, 40, 276])
        site = ADDRESS + len(made) + 8
        handlers = struct.pack("<Bi", 4, rnd.randrange(0x1000, 0xF000) - (site + 9)) + bytes(3 + more)
        made += struct.pack("<IIiI", 20 + more, len(made) + 4, rnd.randrange(0x1000, 0xF000) - site, 55) + handlers
    return bytes(made) + bytes(4)


def symbols(rnd: random.Random) -> bytes:
    return b"".join(
        struct.pack("<IBBHQQ", rnd.randrange(900), 18, 0, 1, rnd.randrange(0x1000, 0xF000), 55) for _ in range(40)
    )


def relocations(rnd: random.Random) -> bytes:
    numbers = (rnd.randrange(0x1000, 0xF000) for _ in range(80))
    return b"".join(struct.pack("<QQQ", next(numbers), 8, next(numbers)) for _ in range(40))


def a_table(kind: str, file: bytes, size: int) -> Table:
    def read_at(offset: int, length: int) -> bytes:
        return file[offset : offset + length]

    if kind == "frames":
        return Frames(read_at, AT, size, ADDRESS, MOVES)
    if kind == "symbols":
        return Symbols(read_at, AT, size, 700, MOVES)
    return Relocations(read_at, AT, size, MOVES)


MADE: dict[str, Callable[[random.Random], bytes]] = {
    "frames": frames,
    "symbols": symbols,
    "relocations": relocations,
}


@pytest.mark.parametrize("in_python", [False, True])
@pytest.mark.parametrize("kind", MADE)
def test_a_part_has_the_references_of_the_whole_that_lie_in_it(
    kind: str, in_python: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_python:
        monkeypatch.setattr(elf_tables, f"quick_{kind}", getattr(elf_records, f"predict_{kind}"))
    table_bytes = MADE[kind](random.Random(4))
    file = bytes(AT) + table_bytes + bytes(50)
    table = a_table(kind, file, len(table_bytes))
    whole = bytearray(table_bytes)
    words, longs = table.predict(table_bytes, whole, AT, 8)
    assert len(words) + len(longs) >= 80

    for start in range(len(table_bytes)):
        end = min(len(table_bytes), start + 400 + start % 37)
        part = bytearray(table_bytes[start:end])

        found = table.predict(bytes(part), part, AT + start, 8)

        assert sorted(found.words) == sorted(at - start for at in words if start <= at <= end - 4)
        assert sorted(found.longs) == sorted(at - start for at in longs if start <= at <= end - 8)
        for places, width in ((found.words, 4), (found.longs, 8)):
            for at in places:
                assert part[at : at + width] == whole[start + at : start + at + width]
