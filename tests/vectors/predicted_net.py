"""References of .NET files (sections 7a and 7b of docs/formats/patch.md) for the second reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from tests.vectors.predicted_parts import Image, Shifts, exactly, pe, u16, u32, u64

TAGS: dict[str, tuple[int, tuple[int | None, ...]]] = {
    "TypeDefOrRef": (2, (2, 1, 27)),
    "HasConstant": (2, (4, 8, 23)),
    "HasCustomAttribute": (5, (6, 4, 1, 2, 8, 9, 10, 0, 14, 23, 20, 17, 26, 27, 32, 35, 38, 39, 40, 42, 44, 43)),
    "HasFieldMarshal": (1, (4, 8)),
    "HasDeclSecurity": (2, (2, 6, 32)),
    "MemberRefParent": (3, (2, 1, 26, 6, 27)),
    "HasSemantics": (1, (20, 23)),
    "MethodDefOrRef": (1, (6, 10)),
    "MemberForwarded": (1, (4, 6)),
    "Implementation": (2, (38, 35, 39)),
    "CustomAttributeType": (3, (None, None, 6, 10)),
    "ResolutionScope": (2, (0, 26, 35, 1)),
    "TypeOrMethodDef": (1, (2, 6)),
    "HasCustomDebugInformation": (
        5,
        (6, 4, 1, 2, 8, 9, 10, 0, 14, 23, 20, 17, 26, 27, 32, 35, 38, 39, 40, 42, 44, 43, 48, 50, 51, 52, 53),
    ),
}
"""ECMA-335, II.24.2.6: bits of the tag, and tables by it."""
COLUMNS = {
    0: "u2 string guid guid guid",
    1: "ResolutionScope string string",
    2: "u4 string string TypeDefOrRef t4 t6",
    3: "t4",
    4: "u2 string blob",
    5: "t6",
    6: "rva u2 u2 string blob t8",
    7: "t8",
    8: "u2 u2 string",
    9: "t2 TypeDefOrRef",
    10: "MemberRefParent string blob",
    11: "u2 HasConstant blob",
    12: "HasCustomAttribute CustomAttributeType blob",
    13: "HasFieldMarshal blob",
    14: "u2 HasDeclSecurity blob",
    15: "u2 u4 t2",
    16: "u4 t4",
    17: "blob",
    18: "t2 t20",
    19: "t20",
    20: "u2 string TypeDefOrRef",
    21: "t2 t23",
    22: "t23",
    23: "u2 string blob",
    24: "u2 t6 HasSemantics",
    25: "t2 MethodDefOrRef MethodDefOrRef",
    26: "string",
    27: "blob",
    28: "u2 MemberForwarded string t26",
    29: "rva t4",
    30: "u4 u4",
    31: "u4",
    32: "u4 u2 u2 u2 u2 u4 blob string string",
    33: "u4",
    34: "u4 u4 u4",
    35: "u2 u2 u2 u2 u4 blob string string blob",
    36: "u4 t35",
    37: "u4 u4 u4 t35",
    38: "u4 string blob",
    39: "u4 u4 string string Implementation",
    40: "u4 u4 string Implementation",
    41: "t2 t2",
    42: "u2 u2 TypeOrMethodDef string",
    43: "MethodDefOrRef blob",
    44: "t42 TypeDefOrRef",
    48: "blob guid blob guid",
    49: "t48 blob",
    50: "t6 t53 t51 t52 u4 u4",
    51: "u2 u2 string",
    52: "string blob",
    53: "t53 blob",
    54: "t6 t6",
    55: "HasCustomDebugInformation guid blob",
}
"""ECMA-335, II.22, and Portable PDB 1.0."""
ONE = bytes.fromhex("0e0f101112131f2b2c2d2e2f3031323334353637de")
FOUR = bytes.fromhex("202238393a3b3c3d3e3f4041424344dd")
TOKENS = bytes.fromhex("2728296f707172737475797b7c7d7e7f80818c8d8fa3a4a5c2c6d0")
LONG_OPERANDS = {**dict.fromkeys((9, 10, 11, 12, 13, 14), 2), 0x12: 1, 0x19: 1}
LONG_TOKENS = (6, 7, 0x15, 0x16, 0x1C)
Found = list[tuple[int, int, str, int]]
"""Place, width, kind and number of references inside blobs."""


def clr_file(data: bytes) -> Net | None:
    try:
        return Net(data)
    except (IndexError, ValueError, KeyError):
        return None


class Net:
    """A .NET file."""

    def __init__(self, data: bytes) -> None:
        self.data, self.image, self.start = data, Image([]), 0
        if data[:4] != b"BSJB":
            image = pe(data)
            if image is None:
                raise ValueError
            self.image = image
            self.start = self._at(u32(data, self._header() + 8))
        if exactly(data, self.start, 4) != b"BSJB":
            raise ValueError
        known = self._streams()
        self.streams = {name: (at, size) for name, (at, size) in known.items() if at + size <= len(data)}
        self._read_tables()
        self.end = max(place + size for place, size in self.streams.values())

    def _streams(self) -> dict[bytes, tuple[int, int]]:
        at = self.start + 16 + u32(self.data, self.start + 12)
        found: dict[bytes, tuple[int, int]] = {}
        count, at = u16(self.data, at + 2), at + 4
        for _ in range(min(16, count)):
            name = self.data[at + 8 : at + 8 + 32]
            if 0 not in name:
                raise ValueError
            name = name[: name.index(0)]
            found[name] = self.start + u32(self.data, at), u32(self.data, at + 4)
            at += 8 + (len(name) + 4) // 4 * 4
        return found

    def _at(self, address: int) -> int:
        offset = self.image.offset_of(address)
        if offset is None:
            raise ValueError
        return offset

    def _header(self) -> int:
        header = u32(self.data, 60)
        return self._at(u32(self.data, header + (248 if u16(self.data, header + 24) == 0x20B else 232)))

    def _read_tables(self) -> None:
        start, size = self.streams[b"#~"]
        wide, at = exactly(self.data, start + 6, 1)[0], start + 24
        counts, at = self._counts(u64(self.data, start + 8), at)
        known = dict(counts)
        if b"#Pdb" in self.streams:
            pdb = self.streams[b"#Pdb"][0]
            known = self._counts(u64(self.data, pdb + 24), pdb + 32)[0] | counts
        self.tables: dict[int, tuple[int, int, int, list[tuple[str, int, int]]]] = {}
        for number, rows in counts.items():
            if rows >= 2**24:
                raise ValueError
            columns, width = [], 0
            for kind in COLUMNS[number].split():
                own = self._width(kind, known, wide)
                columns.append((kind, width, own))
                width += own
            self.tables[number] = (at, rows, width, columns)
            at += rows * width
        if at > start + size or sum(counts.values()) > 200_000:
            raise ValueError
        places = [(place, place + rows * width) for place, rows, width, _ in self.tables.values()]
        self.first, self.last = (places[0][0], places[-1][1]) if places else (0, 0)

    def _counts(self, mask: int, at: int) -> tuple[dict[int, int], int]:
        present = [number for number in range(64) if mask >> number & 1]
        return {number: u32(self.data, at + 4 * place) for place, number in enumerate(present)}, at + 4 * len(present)

    def _width(self, kind: str, rows: dict[int, int], wide: int) -> int:
        if kind in ("string", "guid", "blob"):
            return 4 if wide & {"string": 1, "guid": 2, "blob": 4}[kind] else 2
        if kind in TAGS:
            bits, tables = TAGS[kind]
            most = max(rows.get(table, 0) for table in tables if table is not None)
            return 4 if most >= 2 ** (16 - bits) else 2
        if kind[0] == "t":
            return 4 if rows.get(int(kind[1:]), 0) >= 2**16 else 2
        return 2 if kind == "u2" else 4

    def bodies(self) -> list[int]:
        """Where bodies begin."""
        if 6 not in self.tables:
            return []
        start, rows, width, _ = self.tables[6]
        addresses = {u32(self.data, start + row * width) for row in range(rows)} - {0}
        return [at for at in map(self.image.offset_of, addresses) if at is not None]

    def runtime_functions(self) -> tuple[int, int] | None:
        """Where they are, and their bytes."""
        try:
            at = self.image.offset_of(u32(self.data, self._header() + 64))
            if at is None or exactly(self.data, at, 16)[:4] != b"RTR\0" or u32(self.data, at + 12) > 32:
                return None
            sections = [at + 16 + 12 * number for number in range(u32(self.data, at + 12))]
            exactly(self.data, at + 16, 12 * len(sections))
        except (IndexError, ValueError):
            return None
        for section in sections:
            place = self.image.offset_of(u32(self.data, section + 4))
            size = u32(self.data, section + 8)
            if u32(self.data, section) == 102 and place is not None and place + size <= len(self.data):
                return place, size
        return None

    def predicted(self, shifts: Shifts, new: Image, corrections: list[int]) -> bytes:
        """Return the file with its references predicted."""
        becomes = Becomes(self, shifts, new, corrections)
        out = bytearray(self.data)
        for start, rows, width, columns in self.tables.values():
            for kind, offset, own in columns:
                for at in range(start + offset, start + offset + rows * width, width):
                    number = becomes.value(kind, int.from_bytes(self.data[at : at + own], "little"))
                    if number is not None:
                        out[at : at + own] = (number % 256**own).to_bytes(own, "little")
        for at in self._tokens():
            row, table = int.from_bytes(self.data[at : at + 3], "little"), self.data[at + 3]
            number = becomes.index(b"#US", row) if table == 0x70 else becomes.row(table, row)
            out[at : at + 3] = (number % 2**24).to_bytes(3, "little")
        for at, width, kind, value in self._packed():
            number = becomes.value(kind, value)
            coded = None if number is None else pack(number, width)
            if coded:
                out[at : at + width] = coded
        return bytes(out)

    def _tokens(self) -> Iterator[int]:
        blobs, size = self.streams.get(b"#Blob", (0, 0))
        done = 0
        for start in sorted(self.bodies()):
            if start < done or start >= len(self.data):
                continue
            found: list[int] = []
            try:
                done = self._body(start, found)
            except IndexError:
                done = start + 1
            for at in found:
                apart = (at + 4 <= self.first or at >= self.last) and (at + 4 <= blobs or at >= blobs + size)
                if apart and any(self.data[at : at + 3]):
                    yield at

    def _body(self, start: int, found: list[int]) -> int:
        data, first = self.data, self.data[start]
        if first & 3 == 2:
            end = min(len(data), start + 1 + (first >> 2))
            self._code(start + 1, end, found)
            return end
        if first & 3 != 3 or start + 12 + u32(data, start + 4) > len(data):
            return start + 1
        end = start + 12 + u32(data, start + 4)
        if u32(data, start + 8):
            found.append(start + 8)
        self._code(start + 12, end, found)
        if not first & 8:
            return end
        at = -(-end // 4) * 4
        flags = exactly(data, at, 1)[0]
        if not flags & 1:
            return at
        size, clause = (u32(data, at) >> 8, 24) if flags & 64 else (exactly(data, at + 1, 1)[0], 12)
        end = at + 4 + max(0, size - 4) // clause * clause
        if end > len(data):
            return at
        for place in range(at + 4, end, clause):
            if not (u32 if flags & 64 else u16)(data, place):
                found.append(place + clause - 4)
        return end

    def _code(self, at: int, end: int, found: list[int]) -> None:
        data = self.data
        while at < end:
            code, at = data[at], at + 1
            extended = code == 0xFE
            if extended:
                if at >= end:
                    return
                code, at = data[at], at + 1
            token = code in (LONG_TOKENS if extended else TOKENS)
            switch = code == 0x45 and not extended
            if token or switch:
                if at + 4 > end:
                    return
                if token:
                    found.append(at)
                at += 4 + (4 * u32(data, at) if switch else 0)
            elif extended:
                at += LONG_OPERANDS.get(code, 0)
            else:
                at += 1 if code in ONE else 4 if code in FOUR else 8 if code in (0x21, 0x23) else 0

    def _packed(self) -> Iterator[tuple[int, int, str, int]]:
        heap, size = self.streams.get(b"#Blob", (0, 0))
        named: dict[int, int] = {}
        for number in (4, 6, 10, 17, 23, 43, 27, 48):
            if number in self.tables:
                start, rows, width, columns = self.tables[number]
                _, offset, own = next(column for column in columns if column[0] == "blob")
                for at in range(start + offset, start + offset + rows * width, width):
                    named[int.from_bytes(self.data[at : at + own], "little")] = number
        done = 0
        for index, number in sorted(named.items()):
            if not 0 < index < size:
                continue
            try:
                length, at = packed(self.data, heap + index, heap + size)
            except IndexError:
                continue
            if not length or at + length > heap + size or at < done:
                continue
            done = at + length
            found: Found = []
            with suppress(IndexError):
                (document if number == 48 else signature)(self.data, at, done, found, number)
            yield from (one for one in found if one[0] + one[1] <= self.first or one[0] >= self.last)


class Becomes:
    """What rows, indexes and addresses become."""

    def __init__(self, net: Net, shifts: Shifts, new: Image, corrections: list[int]) -> None:
        self.net, self.shifts, self.new = net, shifts, new
        self.heaps = {name: net.streams.get(name, (0, 0)) for name in (b"#Strings", b"#Blob", b"#US")}
        starts: dict[bytes | int, int] = {name: place for name, (place, _) in self.heaps.items()}
        starts |= {number: table[0] for number, table in net.tables.items()}
        padded = corrections + [0] * (len(starts) - len(corrections))
        self.begins = {name: shifts.moved(at) + padded[place] for place, (name, at) in enumerate(starts.items())}

    def row(self, table: int, row: int) -> int:
        tables = self.net.tables
        table = 49 if table == 6 and 6 not in tables else table
        if table not in tables:
            return row
        start, rows, width, _ = tables[table]
        if row == 0 or row > rows + 1:
            return row
        if row == rows + 1:
            return self.row(table, rows) + 1
        shift = self.shifts.of(start + (row - 1) * width)
        moved = row + (start + shift - self.begins[table] + width // 2) // width
        return moved if 1 <= moved < 2**24 else row

    def index(self, name: bytes, index: int) -> int:
        place, size = self.heaps[name]
        last = place + max(size, 1) - 1
        return index + self.shifts.of(min(place + index, last)) - (self.begins[name] - place) if index else 0

    def value(self, kind: str, value: int) -> int | None:
        """What a column's number becomes; None where it refers to nothing."""
        if kind in ("string", "blob"):
            return self.index(b"#Strings" if kind == "string" else b"#Blob", value)
        if kind == "rva":
            offset = self.net.image.offset_of(value) if value else None
            there = None if offset is None else self.new.address_of(self.shifts.moved(offset))
            return value if there is None else there
        if kind in TAGS:
            bits, tables = TAGS[kind]
            tag = value % 2**bits
            table = tables[tag] if tag < len(tables) else None
            return value if table is None else self.row(table, value >> bits) << bits | tag
        return self.row(int(kind[1:]), value) if kind[0] == "t" else None


def packed(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a packed number and where it ends."""
    if at >= end:
        raise IndexError
    width = 1 if data[at] < 0x80 else 2 if data[at] < 0xC0 else 4
    if at + width > end:
        raise IndexError
    return int.from_bytes(data[at : at + width], "big") % {1: 2**7, 2: 2**14, 4: 2**29}[width], at + width


def pack(value: int, width: int) -> bytes | None:
    most, mark = {1: (2**7, 0), 2: (2**14, 0x8000), 4: (2**29, 0xC0000000)}[width]
    return (value + mark).to_bytes(width, "big") if 0 <= value < most else None


def reference(data: bytes, at: int, end: int, kind: str, found: Found) -> int:
    value, behind = packed(data, at, end)
    found.append((at, behind - at, kind, value))
    return behind


def document(data: bytes, at: int, end: int, found: Found, number: int) -> None:
    at += 1
    while at < end:
        at = reference(data, at, end, "blob", found)


def head(data: bytes, at: int, end: int) -> int:
    if at >= end:
        raise IndexError
    convention, at = data[at], at + 1
    if convention & 15 == 6:
        return at
    if convention & 16:
        at = packed(data, at, end)[1]
    return packed(data, at, end)[1]


def signature(data: bytes, at: int, end: int, found: Found, number: int) -> None:
    at = at if number == 27 else head(data, at, end)
    while at < end:
        element, at = data[at], at + 1
        if element in (0x11, 0x12, 0x1F, 0x20):
            at = reference(data, at, end, "TypeDefOrRef", found)
        elif element in (0x13, 0x1E):
            at = packed(data, at, end)[1]
        elif element == 0x15:
            if at >= end:
                raise IndexError
            at = packed(data, reference(data, at + 1, end, "TypeDefOrRef", found), end)[1]
        elif element == 0x1B:
            at = head(data, at, end)
        elif element == 0x14:
            return
