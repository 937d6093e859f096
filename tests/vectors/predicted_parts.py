"""Numbers, shifts, segments and PE headers of sections 7a and 7b of docs/formats/patch.md, for the second reader."""

from __future__ import annotations

Match = tuple[int, int, int]
Segment = tuple[int, int, int, int, bool, bool]
"""Offset, address, size, memory, executable, writable."""


def u16(data: bytes, at: int) -> int:
    return int.from_bytes(exactly(data, at, 2), "little")


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(exactly(data, at, 4), "little")


def i32(data: bytes, at: int) -> int:
    return int.from_bytes(exactly(data, at, 4), "little", signed=True)


def u64(data: bytes, at: int) -> int:
    return int.from_bytes(exactly(data, at, 8), "little")


def exactly(data: bytes, at: int, size: int) -> bytes:
    if at < 0 or at + size > len(data):
        raise IndexError
    return data[at : at + size]


class Shifts:
    """The shift of every old offset."""

    def __init__(self, matches: list[Match], size: int) -> None:
        longest: list[Match | None] = [None] * (size + 1)
        for match in sorted(matches, key=lambda one: (one[2], -one[0], -one[1])):
            longest[match[0] : match[0] + match[2]] = [match] * match[2]
        covered = [at for at, match in enumerate(longest) if match]
        self.values = [0] * (size + 1)
        if covered:
            below = 0
            for at in range(size + 1):
                while below + 1 < len(covered) and covered[below + 1] <= at:
                    below += 1
                near = covered[below]
                if near < at and below + 1 < len(covered) and covered[below + 1] - at < at - near:
                    near = covered[below + 1]
                old, new, _ = longest[near] or (0, 0, 0)
                self.values[at] = new - old

    def of(self, offset: int) -> int:
        return self.values[min(max(offset, 0), len(self.values) - 1)]

    def moved(self, offset: int) -> int:
        return offset + self.of(offset)


class Image:
    """Segments of a file."""

    def __init__(self, segments: list[Segment], fixed: bool = False) -> None:
        self.fixed, self.segments, end = fixed, [], 0
        for one in segments:
            if one[1] >= end and one[1] + one[3] < 2**62 and one[0] + one[2] < 2**48:
                self.segments.append(one)
                end = one[1] + one[3]
        self.stretches: list[tuple[int, int, Segment]] = []
        end = 0
        for one in sorted(self.segments, key=lambda segment: segment[0]):
            if max(end, one[0]) < one[0] + one[2]:
                self.stretches.append((max(end, one[0]), one[0] + one[2], one))
                end = one[0] + one[2]

    def at_address(self, address: int) -> Segment | None:
        return next((one for one in self.segments if one[1] <= address < one[1] + one[3]), None)

    def at_offset(self, offset: int) -> Segment | None:
        return next((one for start, end, one in self.stretches if start <= offset < end), None)

    def address_of(self, offset: int) -> int | None:
        segment = self.at_offset(offset)
        return segment[1] + offset - segment[0] if segment else None

    def offset_of(self, address: int) -> int | None:
        segment = self.at_address(address)
        return segment[0] + address - segment[1] if segment and address - segment[1] < segment[2] else None


def pe(start: bytes) -> Image | None:
    try:
        if start[:2] != b"MZ" or exactly(start, u32(start, 60), 4) != b"PE\0\0":
            return None
        header = u32(start, 60)
        first = header + 24 + u16(start, header + 20)
        found = []
        for at in range(first, first + 40 * min(96, u16(start, header + 6)), 40):
            memory, address, size, offset, flags = (u32(start, at + more) for more in (8, 12, 16, 20, 36))
            if size:
                found.append((offset, address, size, max(size, memory), bool(flags & 0x20000000), False))
    except IndexError:
        return None
    return Image(found)
