"""Small ELF programs for x86-64, of functions that call each other and a table of their addresses."""

import random
import struct

CODE, DATA = 0x401000, 0x600000
_CODE_AT = 0x1000


def a_program(functions: int, inserted: dict[int, bytes] | None = None, seed: int = 7) -> bytes:
    """Return a program; ``inserted`` says what stands before a function."""
    chosen = random.Random(seed)
    bodies = [chosen.randbytes(40).replace(b"\xe8", b"\x90").replace(b"\xe9", b"\x90") for _ in range(functions)]
    calls = [[chosen.randrange(functions) for _ in range(3)] for _ in range(functions)]
    more = inserted or {}
    starts, at = [], CODE
    for number, body in enumerate(bodies):
        at += len(more.get(number, b""))
        starts.append(at)
        at += len(body) + 5 * len(calls[number])
    code = bytearray()
    for number, body in enumerate(bodies):
        code += more.get(number, b"") + body
        for callee in calls[number]:
            code += b"\xe8" + struct.pack("<i", starts[callee] - (CODE + len(code) + 5))
    table = struct.pack(f"<{functions}Q", *starts)
    data_at = -(-(_CODE_AT + len(code)) // 8) * 8
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, CODE, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    head += struct.pack("<IIQQQQQQ", 1, 5, _CODE_AT, CODE, CODE, len(code), len(code), 4096)
    head += struct.pack("<IIQQQQQQ", 1, 6, data_at, DATA, DATA, len(table), len(table) + 4096, 4096)
    return (head.ljust(_CODE_AT, b"\0") + code).ljust(data_at, b"\0") + table
