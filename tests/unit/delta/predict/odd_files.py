"""Programs as linkers, strippers, packers and obfuscators leave them: whole, but not as a reader expects."""

from __future__ import annotations

import struct
from collections.abc import Callable

Change = Callable[[bytearray], None]
_SECTION_BYTES, _SEGMENT_BYTES = 64, 56
_SYMBOLS, _RELOCATIONS, _FRAMES, _NAMES = 2, 3, 4, 7
"""Numbers of sections in ``programs.a_library``."""
_CODE, _DATA, _INDEX = 0, 1, 4
"""Numbers of its segments."""
_ALL = (1 << 64) - 1


def put(at: int, form: str, *values: int) -> Change:
    """Return what writes numbers at a place."""
    return lambda file: struct.pack_into(f"<{form}", file, at, *values)


def section(number: int, field: int, form: str, value: int) -> Change:
    """Return what writes a number of a section header."""

    def change(file: bytearray) -> None:
        headers = int.from_bytes(file[40:48], "little")
        struct.pack_into(f"<{form}", file, headers + _SECTION_BYTES * number + field, value)

    return change


def segment(number: int, field: int, value: int) -> Change:
    """Return what writes a number of 64 bits of a program header."""
    return put(64 + _SEGMENT_BYTES * number + field, "Q", value)


def _extended_numbering(file: bytearray) -> None:
    """More sections or segments than 16 bits can say are said in the first section header."""
    struct.pack_into("<HHHH", file, 56, 0xFFFF, 64, 0, 0xFFFF)
    section(0, 32, "Q", 8)(file)
    section(0, 40, "I", 7)(file)
    section(0, 44, "I", 5)(file)


def _cut_headers(file: bytearray) -> None:
    del file[-100:]


def _without_sections(file: bytearray) -> None:
    struct.pack_into("<Q", file, 40, 0)
    struct.pack_into("<HHH", file, 58, 0, 0, 0)


def _same_place(file: bytearray) -> None:
    """All sections begin where the first table does."""
    headers = int.from_bytes(file[40:48], "little")
    place = file[headers + 64 * _SYMBOLS + 24 : headers + 64 * _SYMBOLS + 32]
    for number in range(8):
        file[headers + 64 * number + 24 : headers + 64 * number + 32] = place


def _within(number: int, size: int) -> Change:
    return section(number, 32, "Q", size)


def _first_frame(length: int) -> Change:
    def change(file: bytearray) -> None:
        headers = int.from_bytes(file[40:48], "little")
        place = int.from_bytes(file[headers + 64 * _FRAMES + 24 :][:8], "little")
        struct.pack_into("<I", file, place, length)

    return change


ELF: dict[str, Change] = {
    "no section headers": _without_sections,
    "sections that begin at 0": put(40, "Q", 0),
    "sections behind the end": put(40, "Q", 1 << 40),
    "sections at the last address": put(40, "Q", _ALL),
    "headers cut off": _cut_headers,
    "extended numbering": _extended_numbering,
    "65,535 sections": put(60, "H", 0xFFFF),
    "no names of sections": put(62, "H", 0xFFFF),
    "names of sections behind the end": section(_NAMES, 24, "Q", _ALL),
    "another size of section headers": put(58, "H", 40),
    "no segments": put(56, "H", 0),
    "65,535 segments": put(56, "H", 0xFFFF),
    "segments behind the start": put(32, "Q", 5000),
    "program headers of 32 bits": put(54, "H", 32),
    "32 bits": put(4, "B", 1),
    "big-endian": put(5, "B", 2),
    "relocatable": put(16, "H", 1),
    "a core": put(16, "H", 4),
    "another machine": put(18, "H", 40),
    "code without bytes": segment(_CODE, 32, 0),
    "code larger than the file": segment(_CODE, 32, 1 << 40),
    "code without end": segment(_CODE, 40, _ALL),
    "code over data": segment(_CODE, 40, 0x600000),
    "data in the place of code": segment(_DATA, 8, 0x1000),
    "data at the address of code": segment(_DATA, 16, 0x401000),
    "data at the last address": segment(_DATA, 16, _ALL),
    "an index behind the end": segment(_INDEX, 8, 1 << 40),
    "an index of four bytes": segment(_INDEX, 32, 4),
    "an index of 4 GB": segment(_INDEX, 32, 1 << 32),
    "symbols without bytes": _within(_SYMBOLS, 0),
    "symbols of 23 bytes": _within(_SYMBOLS, 23),
    "symbols behind the end": section(_SYMBOLS, 24, "Q", _ALL),
    "symbols without names": section(_SYMBOLS, 40, "I", 0xFFFFFFFF),
    "relocations without bytes": _within(_RELOCATIONS, 0),
    "relocations without end": _within(_RELOCATIONS, _ALL),
    "frames without bytes": _within(_FRAMES, 0),
    "frames of 19 bytes": _within(_FRAMES, 19),
    "frames at the last address": section(_FRAMES, 16, "Q", _ALL),
    "frames of 64 bits": _first_frame(0xFFFFFFFF),
    "frames longer than their section": _first_frame(0xFFFFFF00),
    "sections over each other": _same_place,
}

_PE = 64
"""Where the header of ``assemblies.pe`` is; its section header and its CLI header follow."""
_SECTION_AT = _PE + 24 + 224


def _in_metadata(field: int, form: str, value: int) -> Change:
    def change(file: bytearray) -> None:
        struct.pack_into(f"<{form}", file, file.index(b"BSJB") + field, value)

    return change


def _in_tables(field: int, form: str, value: int) -> Change:
    def change(file: bytearray) -> None:
        root = file.index(b"BSJB")
        entry = file.index(b"#~\0\0", root) - 8
        struct.pack_into(f"<{form}", file, root + int.from_bytes(file[entry : entry + 4], "little") + field, value)

    return change


def _of_stream(name: bytes, field: int, value: int) -> Change:
    def change(file: bytearray) -> None:
        struct.pack_into("<I", file, file.index(name, file.index(b"BSJB")) - 8 + field, value)

    return change


def _tables_at_the_end(file: bytearray) -> None:
    """Of the stream of tables only three bytes are in the file."""
    root = file.index(b"BSJB")
    struct.pack_into("<II", file, file.index(b"#~\0\0", root) - 8, len(file) - 3 - root, 3)


def _name_without_end(file: bytearray) -> None:
    at = file.index(b"#Strings", file.index(b"BSJB"))
    file[at : at + 40] = b"x" * 40


def _other_name(file: bytearray) -> None:
    """As obfuscators name streams: tables that were edited, which have columns between."""
    at = file.index(b"#~\0\0", file.index(b"BSJB"))
    file[at : at + 2] = b"#-"


NET: dict[str, Change] = {
    "a header behind the end": put(60, "I", 0xFFFFFFF0),
    "a header at the last byte": put(60, "I", 4090),
    "65,535 sections": put(_PE + 6, "H", 0xFFFF),
    "no sections": put(_PE + 6, "H", 0),
    "no optional header": put(_PE + 20, "H", 0),
    "an optional header of 64 KiB": put(_PE + 20, "H", 0xFFFF),
    "64 bits": put(_PE + 24, "H", 0x20B),
    "a section without bytes": put(_SECTION_AT + 16, "I", 0),
    "a section longer than the file": put(_SECTION_AT + 16, "I", 0xFFFFFFFF),
    "a section behind the end": put(_SECTION_AT + 20, "I", 0xFFFFFF00),
    "a section at the last address": put(_SECTION_AT + 12, "I", 0xFFFFFFFF),
    "no CLI header": put(_PE + 24 + 96 + 8 * 14, "I", 0),
    "a CLI header elsewhere": put(_PE + 24 + 96 + 8 * 14, "I", 0xFFFFFFFF),
    "a version without end": _in_metadata(12, "I", 0xFFFFFFF0),
    "65,535 streams": _in_metadata(12 + 4 + 12 + 2, "H", 0xFFFF),
    "no streams": _in_metadata(12 + 4 + 12 + 2, "H", 0),
    "tables at the end": _tables_at_the_end,
    "tables behind the end": _of_stream(b"#~", 0, 0xFFFFFFFF),
    "tables of five bytes": _of_stream(b"#~", 4, 5),
    "names behind the end": _of_stream(b"#Strings", 0, 0xFFFFFFFF),
    "names without bytes": _of_stream(b"#Strings", 4, 0),
    "blobs without bytes": _of_stream(b"#Blob", 4, 0),
    "blobs over the tables": _of_stream(b"#Blob", 0, 32),
    "a name without end": _name_without_end,
    "edited tables": _other_name,
    "tables that are not known": _in_tables(8, "Q", _ALL),
    "no tables": _in_tables(8, "Q", 0),
    "wide indexes": _in_tables(6, "B", 7),
    "rows without end": _in_tables(24, "I", 0xFFFFFFFF),
    "rows of 24 bits": _in_tables(24, "I", (1 << 24) - 1),
    "200,001 rows": _in_tables(28, "I", 200_001),
}


def changed(file: bytes, change: Change) -> bytes:
    """Return a file with a change."""
    out = bytearray(file)
    change(out)
    return bytes(out)
