"""Small ELF programs with Go's tables: of functions, by where they begin, and of types, by their names."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from zlib import crc32

RODATA_AT = 0x1000
_ADDRESS = 0x400000
_RECORD, _FUNCTION_BYTES, _TYPE_BYTES = struct.Struct("<II"), 44, 48
_HEAD_BYTES = 72
_SECTIONS = b"\0.rodata\0.typelink\0.gopclntab\0.shstrtab\0"


def a_go_program(functions: Mapping[str, int], types: Sequence[str], types_before: int = 0) -> bytes:
    """Return a program.

    Args:
        functions: The bytes of each by its name, in the order of its addresses.
        types: Their names, sorted.
        types_before: Bytes before the types of the program.
    """
    rodata = bytes(types_before) + b"".join(map(_type, types))
    links = b"".join(struct.pack("<I", types_before + _TYPE_BYTES * number) for number in range(len(types)))
    body, headers = bytearray(RODATA_AT), [bytes(64)]
    contents = {".rodata": rodata, ".typelink": links, ".gopclntab": _functions(functions), ".shstrtab": _SECTIONS}
    for name, content in contents.items():
        place, name_at = len(body), _SECTIONS.index(name.encode() + b"\0")
        headers.append(struct.pack("<IIQQQQIIQQ", name_at, 1, 2, _ADDRESS + place, place, len(content), 0, 0, 1, 0))
        body += content
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    body[:64] = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, len(body), 0, 64, 56, 1, 64, len(headers), 4)
    body[64:120] = struct.pack("<IIQQQQQQ", 1, 4, 0, _ADDRESS, _ADDRESS, len(body), len(body), 4096)
    return bytes(body + b"".join(headers))


def records(program: bytes) -> tuple[bytes, bytes]:
    """Return the list of types and that of functions as they are in a program, or in what stands for it."""
    (headers_at,) = struct.unpack_from("<Q", program, 40)
    places = [struct.unpack_from("<QQ", program, headers_at + 64 * number + 24) for number in (2, 3)]
    (links_at, links), (table, _) = places
    (count,), (at,) = struct.unpack_from("<Q", program, table + 8), struct.unpack_from("<Q", program, table + 64)
    return program[links_at : links_at + links], program[table + at : table + at + count * _RECORD.size]


def _type(name: str) -> bytes:
    return struct.pack("<QQI", 8, 8, crc32(name.encode())).ljust(_TYPE_BYTES, b"\x15")


def _functions(functions: Mapping[str, int]) -> bytes:
    names, listed, said = b"", b"", b""
    first, start = _RECORD.size * len(functions) + 4, 0
    for name, size in functions.items():
        listed += _RECORD.pack(start, first + len(said))
        said += struct.pack("<II", start, len(names)).ljust(_FUNCTION_BYTES, b"\7")
        names += name.encode() + b"\0"
        start += size
    listed += struct.pack("<I", start)
    places = (_HEAD_BYTES, *[_HEAD_BYTES + len(names)] * 4)
    head = struct.pack("<IHBB8Q", 0xFFFFFFF1, 0, 1, 8, len(functions), 1, _ADDRESS, *places)
    return head + names + listed + said
