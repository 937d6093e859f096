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


RELATIVE = ("e8", "e9", "0f84", "488b05", "8715", "803d")
"""What may be before the distance from the end of an instruction."""
ABSOLUTE = (
    "be", "68", "3d", "4805", "81c7", "81fb", "c700", "c7c0", "c70424", "c7442408", "c74510", "c7834000ffff",
    "c78424d8100000", "8b04c5", "ff24d5", "0fb692", "0fbe8411", "488b9a", "4a8b9cc0",
)  # fmt: skip
"""What may be before an address in a program at a fixed address."""


def operands(before: bytes, seed: int = 5) -> bytes:
    """Return a program of instructions of all kinds in front of 2,000 bytes of code that they refer to."""
    chosen = random.Random(seed)
    code = bytearray()
    for number in range(400):
        opcode = bytes.fromhex(chosen.choice((*RELATIVE, *ABSOLUTE)))
        code += b"\x90" * chosen.randrange(4) + opcode
        target = CODE + 8192 + len(before) + 4 * number
        relative = opcode.hex() in RELATIVE
        behind = 5 if opcode[:1] == b"\x80" else 4
        code += struct.pack("<i", target - (CODE + len(code) + behind) if relative else target)
    code = code.ljust(8192, b"\x90") + before + random.Random(seed).randbytes(2000)
    head = bytearray(a_program(1)[:_CODE_AT])
    for field in (96, 104):
        struct.pack_into("<Q", head, field, len(code))
    struct.pack_into("<QQQ", head, 64 + 56 + 8, _CODE_AT + len(code), DATA, DATA)
    struct.pack_into("<QQ", head, 64 + 56 + 32, 8, 8)
    return bytes(head) + code + bytes(8)


def a_library(functions: int, inserted: dict[int, bytes] | None = None, seed: int = 7) -> bytes:
    """Return a program with sections: symbols, relocations, frames, their index, and distances to code in data."""
    program = a_program(functions, inserted, seed)
    starts = list(struct.unpack(f"<{functions}Q", program[-8 * functions :]))
    names = b"\0" + b"".join(b"function%d\0" % number for number in range(functions))
    at = len(program)
    symbols = bytes(24)
    for number, start in enumerate(starts):
        symbols += struct.pack("<IBBHQQ", names.index(b"function%d\0" % number), 18, 0, 1, start, 55)
    relocations = b"".join(struct.pack("<QQQ", DATA + 8 * number, 8, start) for number, start in enumerate(starts))
    address = 0x800000
    common = struct.pack("<II", 12, 0) + b"\1zPLR\0".ljust(8, b"\0")
    frames, index = bytearray(common), b""
    for number, start in enumerate(starts):
        site = address + len(frames) + 8
        index += struct.pack("<ii", start - 0x700000, address + len(frames) - 0x700000)
        back = len(frames) + 4
        handlers = struct.pack("<Bi", 4, DATA + 8 * number - (site + 9)) + b"\0\0\0"
        frames += struct.pack("<IIiI", 20, back, start - site, 55) + handlers
    frames += bytes(4)
    jumps = b"".join(struct.pack("<i", start - (0x900000 + 4 * number)) for number, start in enumerate(starts))
    index = struct.pack("<BBBBII", 1, 0x1B, 3, 0x3B, 0, functions) + index
    tables = [names, symbols, relocations, bytes(frames), index, jumps, b"\0.eh_frame\0"]
    places = [at]
    for table in tables:
        places.append(-(-(places[-1] + len(table)) // 8) * 8)
    body = b"".join(
        table.ljust(end - start, b"\0") for table, start, end in zip(tables, places, places[1:], strict=False)
    )
    kinds = [(3, 0, 0), (2, 1, 0), (4, 0, 0), (1, 0, address), (1, 0, 0x700000), (1, 0, 0), (3, 0, 0)]
    headers = bytes(64)
    for (kind, link, where), table, place in zip(kinds, tables, places, strict=False):
        headers += struct.pack("<IIQQQQIIQQ", int(where == address), kind, 0, where, place, len(table), link, 0, 8, 0)
    more = [
        (1, 4, places[3], address, len(frames)),
        (1, 4, places[5], 0x900000, len(jumps)),
        (0x6474E550, 4, places[4], 0x700000, len(index)),
    ]
    head = bytearray(program[:4096])
    struct.pack_into("<Q", head, 40, at + len(body))
    struct.pack_into("<HHHHH", head, 54, 56, 5, 64, 8, 7)
    for number, (kind, flags, offset, where, size) in enumerate(more):
        struct.pack_into("<IIQQQQQQ", head, 64 + 56 * (2 + number), kind, flags, offset, where, where, size, size, 8)
    return bytes(head) + program[4096:] + body + headers
