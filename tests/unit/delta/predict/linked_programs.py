"""Small ELF programs that call functions of others through a linkage table, for both machines."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from tests.unit.delta.predict.arm_programs import near, split

CODE, SLOTS = 0x401000, 0x600000
_CODE_AT = 0x1000
_STUB_BYTES = 16
X86_64, AARCH64 = 62, 183
_KIND = {X86_64: 7, AARCH64: 1026}


def _stub(machine: int, site: int, slot: int, number: int) -> bytes:
    if machine == AARCH64:
        page, low = (slot >> 12) - (site >> 12), slot & 0xFFF
        load, add = 0xF9400211 | low >> 3 << 10, 0x91000210 | low << 10
        return struct.pack("<IIII", split(0x90000010, page), load, add, 0xD61F0220)
    return struct.pack("<HiBIBi", 0x25FF, slot - site - 6, 0x68, number, 0xE9, CODE - site - _STUB_BYTES)


def _call(machine: int, site: int, target: int) -> bytes:
    return near(site, target, "bl") if machine == AARCH64 else b"\xe8" + struct.pack("<i", target - site - 5)


def a_linked_program(machine: int, names: Sequence[str], called: Sequence[str], callers: int) -> bytes:
    """Return a program with a linkage table for ``names``, in this order; each function calls one of ``called``."""
    stub_of = {name: CODE + _STUB_BYTES * number for number, name in enumerate(names)}
    code = bytearray()
    for number in range(len(names)):
        code += _stub(machine, CODE + len(code), SLOTS + 8 * number, number)
    chosen = random.Random(3)
    for _ in range(callers):
        for operation in (0x8B, 0xAA, 0x2A):
            code += bytes(chosen.choice(_QUIET) for _ in range(3)) + bytes([operation])
        code += _call(machine, CODE + len(code), stub_of[chosen.choice(called)])
        code += bytes(-len(code) % 4)
    return _whole(machine, names, bytes(code))


_QUIET = bytes(range(0x40, 0x60))
"""Bytes that begin no operand."""


def _whole(machine: int, names: Sequence[str], code: bytes) -> bytes:
    strings, symbols, relocations, slots = b"\0", bytes(24), b"", b""
    for name in sorted(names):
        symbols += struct.pack("<IBBHQQ", len(strings), 18, 0, 0, 0, 0)
        strings += name.encode() + b"\0"
    for number, name in enumerate(names):
        relocations += struct.pack("<QIIQ", SLOTS + 8 * number, _KIND[machine], 1 + sorted(names).index(name), 0)
        slots += struct.pack("<Q", CODE if machine == AARCH64 else CODE + _STUB_BYTES * number + 6)
    places, body = [], b""
    at = _CODE_AT + len(code)
    for table in (slots, strings, symbols, relocations):
        places.append(at + len(body))
        body += table + bytes(-len(table) % 8)
    sizes = map(len, (strings, symbols, relocations))
    sections = [(0, 0, 0, 0), *zip((3, 11, 4), places[1:], sizes, (0, 1, 2), strict=True)]
    headers = b"".join(
        struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, place, size, link, 0, 8, 0) for kind, place, size, link in sections
    )
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, CODE, 64, at + len(body), 0, 64, 56, 2, 64, 4, 1)
    head += struct.pack("<IIQQQQQQ", 1, 5, _CODE_AT, CODE, CODE, len(code), len(code), 4096)
    head += struct.pack("<IIQQQQQQ", 1, 6, places[0], SLOTS, SLOTS, len(slots), len(slots), 4096)
    return head.ljust(_CODE_AT, b"\0") + code + body + headers
