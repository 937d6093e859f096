"""Small ELF programs for aarch64, of functions that call each other and look at data of all sizes."""

from __future__ import annotations

import random
import struct

CODE, DATA = 0x410000, 0x620000
_CODE_AT = 0x1000
_BODY_WORDS = 6
NEAR_BY = {"bl": 0x94000000, "b": 0x14000000, "b.eq": 0x54000000, "cbz": 0xB4000003, "ldr": 0x58000004}
TESTED, NEAR, PAGE = 0x37180005, 0x10000006, 0x90000007
"""TBNZ, ADR and ADRP."""
USERS = {0x910000E7: 0, 0x394000E1: 0, 0x794000E1: 1, 0xB94000E1: 2, 0xF94000E8: 3, 0x3DC000E1: 4, 0xF90000E2: 3}
"""ADD, loads of all widths and a store that add to register 7, and by how many bits that is shifted."""


def distance(word: int, shift: int, bits: int, value: int) -> int:
    """Return the instruction with a distance of so many instructions."""
    return word | (value & (1 << bits) - 1) << shift


def split(word: int, value: int) -> int:
    """Return ADR or ADRP with its distance."""
    return word | (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5


def near(site: int, target: int, name: str) -> bytes:
    """Return an instruction that branches to a target, or loads from it."""
    shift, bits = (0, 26) if name in ("b", "bl") else (5, 19)
    return struct.pack("<I", distance(NEAR_BY[name], shift, bits, (target - site) // 4))


def paged(site: int, target: int, user: int, between: bytes = b"") -> bytes:
    """Return ADRP and an instruction that adds to it."""
    page = split(PAGE, (target >> 12) - (site >> 12))
    added = user | ((target & 0xFFF) >> USERS[user]) << 10
    return struct.pack("<I", page) + between + struct.pack("<I", added)


def an_arm_program(functions: int, inserted: dict[int, bytes] | None = None, seed: int = 7) -> bytes:
    """Return a program; ``inserted`` says what stands before a function."""
    chosen = random.Random(seed)
    more = inserted or {}
    bodies = [b"".join(chosen.randbytes(3) + b"\x8b" for _ in range(_BODY_WORDS)) for _ in range(functions)]
    added = [chosen.choice(list(USERS)) for _ in range(functions)]
    callees = [chosen.randrange(functions) for _ in range(functions)]
    data = [16 * chosen.randrange(functions // 2) for _ in range(functions)]
    words = len(NEAR_BY) + _BODY_WORDS + 6
    starts, at = [], CODE
    for number in range(functions):
        at += len(more.get(number, b""))
        starts.append(at)
        at += 4 * words
    data_moved = 64 * len(more)
    code = bytearray()
    for number, body in enumerate(bodies):
        code += more.get(number, b"") + body
        callee, neighbour = starts[callees[number]], starts[min(number + 1, functions - 1)]
        for name in NEAR_BY:
            code += near(CODE + len(code), callee, name)
        site = CODE + len(code)
        code += struct.pack("<I", distance(TESTED, 5, 14, (neighbour - site) // 4))
        code += struct.pack("<I", split(NEAR, neighbour - site - 4))
        code += paged(CODE + len(code), DATA + data_moved + data[number], added[number], b"\x1f\x20\x03\xd5")
        code += b"\xc0\x03\x5f\xd6"
    table = bytes(data_moved) + struct.pack(f"<{functions}Q", *starts) + chosen.randbytes(16 * functions)
    data_at = -(-(_CODE_AT + len(code)) // 16) * 16
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 183, 1, CODE, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    head += struct.pack("<IIQQQQQQ", 1, 5, _CODE_AT, CODE, CODE, len(code), len(code), 4096)
    head += struct.pack("<IIQQQQQQ", 1, 6, data_at, DATA, DATA, len(table), len(table) + 4096, 4096)
    return (head.ljust(_CODE_AT, b"\0") + code).ljust(data_at, b"\0") + table
