"""Where the blocks of a deflate stream end, in plain bytes: what a compressor other than zlib decided for itself.

GNU gzip finds the same matches as zlib, and ends its blocks elsewhere. Only the encoder reads streams so: a device is
told the ends.

Source: RFC 1951, sections 3.2.3 to 3.2.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from imagedelta.delta.deflate.fold_search import FileBytes

_LENGTH_EXTRA = (0,) * 8 + (1,) * 4 + (2,) * 4 + (3,) * 4 + (4,) * 4 + (5,) * 4 + (0,)
_LENGTH_BASES = (*accumulate((1 << extra for extra in _LENGTH_EXTRA[:-2]), initial=3), 258)
_DISTANCE_EXTRA = (0, 0, *(number // 2 for number in range(28)))
_LENGTH_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_END_OF_BLOCK, _FIRST_LENGTH = 256, 257
_STORED, _FIXED, _DYNAMIC = 0, 1, 2
_STORED_HEADER_BITS = 32
_FILL_BYTES = 16

_LITERAL, _STOP, _UNUSED = 0, 1, 2
"""Instead of a length, of which the least is 3."""


class NotParsed(Exception):
    """The stream has what no deflate stream has. Never leaves the encoder."""


class _Code:
    """A prefix code as one table: the next bits of the stream → bits to drop, extra bits, and what it means."""

    def __init__(self, lengths: Sequence[int], entries: Sequence[int]) -> None:
        """Args:
        lengths: Bits of each symbol's code, 0 for those that do not occur.
        entries: What each symbol means, shifted left by 8 with its extra bits in bits 4 to 7.
        """
        longest = max(lengths, default=0)
        self.mask = (1 << longest) - 1
        self.table = [_UNUSED << 8] * (1 << longest)
        code = 0
        for bits in range(1, longest + 1):
            for symbol, length in enumerate(lengths):
                if length == bits:
                    if code >> bits:
                        raise NotParsed("more codes than fit")
                    start = int(f"{code:0{bits}b}"[::-1], 2)
                    count = 1 << (longest - bits)
                    self.table[start :: 1 << bits] = [entries[symbol] | bits] * count
                    code += 1
            code <<= 1


def _meanings() -> list[int]:
    lengths = [base << 8 | extra << 4 for base, extra in zip(_LENGTH_BASES, _LENGTH_EXTRA, strict=True)]
    return [_LITERAL << 8] * _END_OF_BLOCK + [_STOP << 8] + lengths + [_UNUSED << 8] * 2


_PLAIN_MEANINGS = _meanings()
_SYMBOLS = [symbol << 8 for symbol in range(19)]
_DISTANCES = [extra << 4 for extra in _DISTANCE_EXTRA] + [_UNUSED << 8] * 2
_EXTRA_MASKS = tuple((1 << bits) - 1 for bits in range(16))


class DeflateBlocks:
    """Yields the plain bytes of each block but the last of the stream at ``start``: some megabyte of it a second."""

    def __init__(self, file: FileBytes, start: int) -> None:
        self.symbols = 0
        """Literals and matches of the block passed last; 0 where it is stored."""
        self._file = file
        self._next = start
        self._bits = 0
        self._count = 0

    def __iter__(self) -> Iterator[int]:
        """Yield a number for each block.

        Raises:
            NotParsed: It is no deflate stream, or the file ends within it.
        """
        while not self._take(1):
            kind = self._take(2)
            if kind == _STORED:
                yield self._stored()
            elif kind == _FIXED:
                yield self._coded(_FIXED_CODE, _FIXED_DISTANCES)
            elif kind == _DYNAMIC:
                yield self._coded(*self._codes())
            else:
                raise NotParsed("a block of no known kind")

    def _stored(self) -> int:
        self._take(self._count % 8)
        length = self._take(_STORED_HEADER_BITS) & 0xFFFF
        self._next += length - self._count // 8
        self._bits = self._count = self.symbols = 0
        return length

    def _coded(self, code: _Code, distances: _Code) -> int:
        """Pass a block by; what matches copy does not matter, only how much."""
        table, mask, distance_table, distance_mask = code.table, code.mask, distances.table, distances.mask
        bits, count, literals, matches, matched = self._bits, self._count, 0, 0, 0
        while True:
            if count < 48:  # 15 of a length, 5 of its extra bits, 15 and 13 of a distance
                if count < 0:
                    raise NotParsed("the file ends within the stream")
                self._bits, self._count = bits, count
                self._fill()
                bits, count = self._bits, self._count
            entry = table[bits & mask]
            used = entry & 15
            bits >>= used
            count -= used
            meaning = entry >> 8
            if not meaning:
                literals += 1
                continue
            if meaning <= _UNUSED:
                break
            extra = entry >> 4 & 15
            matched += meaning + (bits & _EXTRA_MASKS[extra])
            matches += 1
            bits >>= extra
            entry = distance_table[bits & distance_mask]
            if entry >> 8:
                raise NotParsed("a distance that is none")
            used = (entry & 15) + (entry >> 4)
            bits >>= used
            count -= used + extra
        if meaning != _STOP or count < 0:
            raise NotParsed("a symbol that has no code")
        self._bits, self._count, self.symbols = bits, count, literals + matches
        return literals + matched

    def _codes(self) -> tuple[_Code, _Code]:
        literals, distances, coded = self._take(5) + 257, self._take(5) + 1, self._take(4) + 4
        order = [0] * len(_LENGTH_ORDER)
        for place in _LENGTH_ORDER[:coded]:
            order[place] = self._take(3)
        code = _Code(order, _SYMBOLS)
        lengths: list[int] = []
        while len(lengths) < literals + distances:
            entry = code.table[self._look(7) & code.mask]
            self._take(entry & 15)
            symbol = entry >> 8
            if symbol < 16:
                if not entry & 15:
                    raise NotParsed("a code length that has no code")
                lengths.append(symbol)
            elif symbol == 16:
                lengths += (lengths[-1:] or [0]) * (3 + self._take(2))
            elif symbol == 17:
                lengths += [0] * (3 + self._take(3))
            else:
                lengths += [0] * (11 + self._take(7))
        return _Code(lengths[:literals], _PLAIN_MEANINGS), _Code(lengths[literals:][:distances], _DISTANCES)

    def _take(self, count: int) -> int:
        value = self._look(count)
        self._bits >>= count
        self._count -= count
        return value

    def _look(self, count: int) -> int:
        if self._count < count:
            self._fill()
            if self._count < count:
                raise NotParsed("the file ends within the stream")
        return self._bits & _EXTRA_MASKS[count] if count < 16 else self._bits & (1 << count) - 1

    def _fill(self) -> None:
        data = self._file.exactly(self._next, _FILL_BYTES)
        self._bits |= int.from_bytes(data, "little") << self._count
        self._count += 8 * len(data)
        self._next += len(data)


_FIXED_CODE = _Code((8,) * 144 + (9,) * 112 + (7,) * 24 + (8,) * 8, _PLAIN_MEANINGS)
_FIXED_DISTANCES = _Code((5,) * 32, _DISTANCES)
