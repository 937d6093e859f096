"""The encoder's side: which deflate streams of a target zlib makes again from their plain bytes, and how.

Source: docs/formats/patch.md, the section on folds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagedelta.delta.deflate.fold_search import DeflateStream, FileBytes, SearchAbandoned, StreamSearch, plain_pieces
from imagedelta.delta.deflate.folding import Deflater
from imagedelta.delta.deflate.folds import MAX_BLOCKS, MAX_FOLDS, MEM_LEVELS, PIECE_BYTES, Fold, ReadAt, Write
from imagedelta.delta.encode.deflate_blocks import DeflateBlocks, NotParsed
from imagedelta.limits import MIB

_LIKELY_LEVELS = (6, 9, 1, 5, 8, 7, 4, 3, 2)
_USUAL_MEM_LEVEL, _LARGE_MEM_LEVEL = MEM_LEVELS
_MAX_TRIED_BYTES = 64 * MIB
_MAX_CUT_BYTES = 16 * MIB
"""Packed, of a stream whose blocks are looked at: some 15 seconds."""
_ONE_BLOCK_BYTES = 16 * 1024 - 1
"""Of so few plain bytes both mem levels make one block, the same."""
_ZLIBS_SYMBOLS = (0, (1 << 14) - 1, (1 << 15) - 1)
"""After which zlib ends a block, by mem level; stored blocks say nothing."""
_HOPELESS = 32
"""After so many streams in a row that nothing makes again, another deflater was at work: only what worked last is
tried."""


def find_folds(read_at: ReadAt, size: int, out: Write, limit: int, *, cutting: bool = False) -> list[Fold] | None:
    """Write the unfolded form of a target, where only streams that ``Folder`` makes again are unfolded.

    Args:
        read_at: Gives the bytes of the file.
        size: Bytes of the file.
        out: Takes the unfolded form, front to back.
        limit: Most bytes to write.
        cutting: Whether folds may say where blocks end, as streams of GNU gzip need.

    Returns:
        The folds; ``None`` where there are none or the limit is too small: then what was written is of no use.
    """
    file = FileBytes(read_at, size)
    ways = _Ways(FileBytes(read_at, size) if cutting else None)
    folds: list[Fold] = []
    end = written = 0
    try:
        for stream in StreamSearch(file):
            if len(folds) == MAX_FOLDS:
                break
            found = ways.find(file, stream)
            if found is None:
                continue
            way, blocks = found
            written += stream.start - end + stream.plain
            if written > limit:
                return None
            _copy(file.pieces(end, stream.start), out)
            _copy(plain_pieces(file, stream), out)
            folds.append(Fold(stream.start - end, stream.plain, way.level, way.mem_level, blocks, stream.name))
            end = stream.start + stream.packed
    except SearchAbandoned:
        return None
    if not folds or written + size - end > limit:
        return None
    _copy(file.pieces(end, size), out)
    return folds


def _copy(pieces: Iterator[bytes], out: Write) -> None:
    for piece in pieces:
        out(piece)


@dataclass(frozen=True, slots=True)
class _Way:
    """How zlib may make a stream again."""

    level: int
    mem_level: int
    cut: bool = False
    """Blocks end where the stream's end, not where zlib would end them."""


class _Ways:
    """Which ways to try on a stream: what worked last comes first, then what its header says."""

    def __init__(self, again: FileBytes | None) -> None:
        """Args:
        again: The file once more, for a look at blocks; ``None`` to leave them to zlib.
        """
        self._again = again
        self._blocks_left = MAX_BLOCKS
        self._last = _Way(_LIKELY_LEVELS[0], _USUAL_MEM_LEVEL)
        self._failed = 0

    def find(self, file: FileBytes, stream: DeflateStream) -> tuple[_Way, tuple[int, ...]] | None:
        """Return a way, and the blocks that it ends by hand."""
        if stream.plain > _MAX_TRIED_BYTES or stream.packed > _most_packed(stream.plain):
            return None
        looked_at = self._again is not None and stream.packed <= _MAX_CUT_BYTES
        blocks = _Blocks(self._again or file, stream, self._blocks_left if looked_at else 0)
        for way in self._order(stream, blocks):
            if _makes_again(file, stream, Deflater(way.level, way.mem_level, blocks if way.cut else ())):
                cut = blocks.all() if way.cut else ()
                self._blocks_left -= len(cut)
                self._last, self._failed = way, 0
                return way, cut
        self._failed += 1
        return None

    def _order(self, stream: DeflateStream, blocks: _Blocks) -> Iterator[_Way]:
        yield self._last
        if self._failed < _HOPELESS:
            yield from (way for way in self._likely(stream, blocks) if way != self._last)

    def _likely(self, stream: DeflateStream, blocks: _Blocks) -> Iterator[_Way]:
        levels = sorted(_LIKELY_LEVELS, key=lambda level: level != stream.level)
        yield _Way(levels[0], _USUAL_MEM_LEVEL)
        cut = blocks.are_several
        if not cut or blocks.first_symbols in _ZLIBS_SYMBOLS:
            yield from (_Way(level, _USUAL_MEM_LEVEL) for level in levels[1:])
            if stream.plain > _ONE_BLOCK_BYTES:
                yield from (_Way(level, _LARGE_MEM_LEVEL) for level in levels)
        if cut:
            yield from (_Way(level, _LARGE_MEM_LEVEL, cut=True) for level in levels)
            # GNU gzip's blocks are those of the large mem level, its hash is the usual one's.
            if blocks.first_symbols < _ZLIBS_SYMBOLS[1]:
                yield from (_Way(level, _USUAL_MEM_LEVEL, cut=True) for level in levels)


class _Blocks:
    """Where the blocks of a stream end, looked at only as far as somebody asks."""

    def __init__(self, file: FileBytes, stream: DeflateStream, most: int) -> None:
        self.first_symbols = 0
        self._parsed = DeflateBlocks(file, stream.start)
        self._rest = iter(self._parsed)
        self._known: list[int] = []
        self._most = most

    def __iter__(self) -> Iterator[int]:
        at = 0
        while at < len(self._known) or self._look():
            yield self._known[at]
            at += 1

    @property
    def are_several(self) -> bool:
        """Whether there is a block to end by hand."""
        return bool(self._known) or self._look()

    def all(self) -> tuple[int, ...]:
        """Return those that were asked for: all, once a stream was made again."""
        return tuple(self._known)

    def _look(self) -> bool:
        """Whether there is one more; an empty one cannot be made, and none follows."""
        try:
            block = next(self._rest, 0) if len(self._known) < self._most else 0
        except NotParsed:
            return False
        if not self._known:
            self.first_symbols = self._parsed.symbols
        if block:
            self._known.append(block)
        return bool(block)


def _most_packed(plain: int) -> int:
    """Return zlib's own bound of what deflating gives, and a little: more is not of zlib (deflateBound, RFC 1951)."""
    return plain + plain // 8 + plain // 64 + 64


def _makes_again(file: FileBytes, stream: DeflateStream, deflater: Deflater) -> bool:
    """Deflate the plain bytes beside the packed ones, up to the first difference."""
    same = 0
    for plain in plain_pieces(file, stream):
        for at in range(0, len(plain), PIECE_BYTES):
            packed = deflater.compress(plain[at : at + PIECE_BYTES])
            if not file.has(stream.start + same, packed):
                return False
            same += len(packed)
    packed = deflater.finish()
    return same + len(packed) == stream.packed and file.has(stream.start + same, packed)
