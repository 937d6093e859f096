"""Small .NET files made by hand: an assembly with a few methods, and the metadata root that a portable PDB is."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SECTION_ADDRESS = 0x2000
SECTION_OFFSET = 0x200


@dataclass
class Source:
    """What an assembly is made of."""

    methods: list[tuple[str, bytes]]
    """Name and body."""
    members: list[str] = field(default_factory=lambda: ["Write", "Read"])
    strings_first: list[str] = field(default_factory=list)
    """Names that only take room in front of the others."""
    user_strings: list[str] = field(default_factory=lambda: ["hello"])


class Heap:
    """Texts one after the other, each put in once."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known: dict[str, int] = {"": 0}

    def index(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._known[text]


def tiny(code: bytes) -> bytes:
    """A body of the short form."""
    return bytes([len(code) << 2 | 2]) + code


def fat(code: bytes, local_signature: int = 0, sections: bytes = b"") -> bytes:
    """A body of the long form, with what follows its code."""
    flags = 0x3003 | (8 if sections else 0)
    padding = bytes(-len(code) % 4) if sections else b""
    return struct.pack("<HHII", flags, 8, len(code), local_signature) + code + padding + sections


def call(token: int) -> bytes:
    return b"\x28" + struct.pack("<I", token)


def root(streams: dict[str, bytes]) -> bytes:
    """A metadata root with these streams."""
    head = b"BSJB" + struct.pack("<HHII", 1, 1, 0, 12) + b"v4.0.30319\0\0" + struct.pack("<HH", 0, len(streams))
    names = [name.encode() + bytes(4 - len(name) % 4) for name in streams]
    at = len(head) + sum(8 + len(name) for name in names)
    for name, data in zip(names, streams.values(), strict=True):
        head += struct.pack("<II", at, len(data)) + name
        at += len(data)
    return head + b"".join(streams.values())


def tables_stream(rows: dict[int, list[bytes]], wide: int = 0) -> bytes:
    """Stream ``#~`` of these rows."""
    present = sum(1 << number for number in rows)
    head = struct.pack("<IBBBBQQ", 0, 2, 0, wide, 1, present, 0)
    counts = b"".join(struct.pack("<I", len(rows[number])) for number in sorted(rows))
    data = head + counts + b"".join(b"".join(rows[number]) for number in sorted(rows))
    return data + bytes(-len(data) % 4)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def assembly(source: Source, native: bytes = b"") -> bytes:
    """An assembly: one type, its methods with their bodies, members of another assembly that they call."""
    strings, code, bodies = Heap(), bytearray(), []
    for text in source.strings_first:
        strings.index(text)
    for _, body in source.methods:
        code += bytes(-len(code) % 4)
        bodies.append(SECTION_ADDRESS + 72 + len(code))
        code += body
    code += bytes(-len(code) % 4)
    user = bytearray(b"\0")
    for text in source.user_strings:
        coded = text.encode("utf-16-le") + b"\0"
        user += bytes([len(coded)]) + coded
    blobs = b"\0\x03\x20\x00\x01"
    methods = [
        struct.pack("<IHHHHH", address, 0, 6, strings.index(name), 1, 1)
        for address, (name, _) in zip(bodies, source.methods, strict=True)
    ]
    rows = {
        0: [struct.pack("<HHHHH", 0, strings.index("a.dll"), 1, 0, 0)],
        1: [struct.pack("<HHH", 6, strings.index("Console"), strings.index("System"))],
        2: [struct.pack("<IHHHHH", 0, strings.index("<Module>"), 0, 0, 1, 1)],
        6: methods,
        10: [struct.pack("<HHH", 1 << 3 | 1, strings.index(name), 1) for name in source.members],
    }
    streams = {
        "#~": tables_stream(rows),
        "#Strings": padded(bytes(strings.data)),
        "#US": padded(bytes(user)),
        "#Blob": padded(blobs),
    }
    metadata = root(streams)
    cli = bytearray(struct.pack("<IHHII", 72, 2, 5, SECTION_ADDRESS + 72 + len(code), len(metadata)).ljust(72, b"\0"))
    if native:
        struct.pack_into("<II", cli, 64, SECTION_ADDRESS + 72 + len(code) + len(metadata), len(native))
    return pe(bytes(cli) + bytes(code) + metadata + native, 0x20000020 if native else 0x20)


def ready_to_run(source: Source, functions: int) -> bytes:
    """An assembly with machine code: a header, a table of functions, and calls from each to the next."""
    at = len(assembly(source, b"x")) - 1 - SECTION_OFFSET + SECTION_ADDRESS
    code = at + 28 + 12 * functions
    starts = [code + 14 * number for number in range(functions)]
    header = struct.pack("<4sHHII", b"RTR\0", 3, 1, 0, 1) + struct.pack("<III", 102, at + 28, 12 * functions)
    table = b"".join(struct.pack("<III", start, start + 14, code) for start in starts)
    calls = b"".join(
        b"\xe8" + struct.pack("<i", starts[(n * 7) % functions] - start - 5) + b"\x90" * 9
        for n, start in enumerate(starts)
    )
    return assembly(source, header + table + calls)


def pe(section: bytes, flags: int = 0x20) -> bytes:
    """A PE32 file of one section that begins with the CLI header."""
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x14C, 1, 0, 0, 0, 224, 0x2102)
    directories = bytearray(128)
    struct.pack_into("<II", directories, 8 * 14, SECTION_ADDRESS, 72)
    optional = struct.pack("<H", 0x10B).ljust(96, b"\0") + bytes(directories)
    header = b".text\0\0\0" + struct.pack(
        "<IIII12xI", len(section), SECTION_ADDRESS, len(section), SECTION_OFFSET, flags
    )
    return (dos + coff + optional + header).ljust(SECTION_OFFSET, b"\0") + section


def pdb(scopes: int, names: list[str], first_variable: int = 1) -> bytes:
    """A portable PDB of as many methods as scopes, each with a variable."""
    strings = Heap()
    rows = {
        48: [struct.pack("<HHHH", 0, 0, 0, 0)],
        49: [struct.pack("<HH", 1, 0)] * scopes,
        50: [struct.pack("<HHHHII", row + 1, 0, row + first_variable, 1, 0, 16) for row in range(scopes)],
        51: [struct.pack("<HHH", 0, 0, strings.index(name)) for name in names],
    }
    identity = bytes(20) + struct.pack("<IQ", 0, 1 << 6) + struct.pack("<I", scopes)
    streams = {"#Pdb": identity, "#~": tables_stream(rows), "#Strings": padded(bytes(strings.data)), "#Blob": bytes(4)}
    return root(streams)
