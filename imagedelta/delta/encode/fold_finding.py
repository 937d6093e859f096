"""The encoder's side: which deflate streams of a target zlib makes again from their plain bytes, and how.

Source: docs/formats/patch.md, the section on folds.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagedelta.delta.deflate.fold_search import DeflateStream, FileBytes, SearchAbandoned, StreamSearch, plain_pieces
from imagedelta.delta.deflate.folding import deflater
from imagedelta.delta.deflate.folds import MAX_FOLDS, MEM_LEVELS, PIECE_BYTES, Fold, ReadAt, Write

_LIKELY_LEVELS = (6, 9, 1, 5, 8, 7, 4, 3, 2)
_ALL = tuple((level, mem_level) for mem_level in MEM_LEVELS for level in _LIKELY_LEVELS)
_FIRST_CHOICE = _ALL[0]
_MAX_TRIED_BYTES = 64 * 1024 * 1024
_HOPELESS = 32
"""After so many streams in a row that nothing makes again, another deflater was at work: only what worked last is
tried."""


def find_folds(read_at: ReadAt, size: int, out: Write, limit: int) -> list[Fold] | None:
    """Write the unfolded form of a target, where only streams that ``Folder`` makes again are unfolded.

    Args:
        read_at: Gives the bytes of the file.
        size: Bytes of the file.
        out: Takes the unfolded form, front to back.
        limit: Most bytes to write.

    Returns:
        The folds; ``None`` where there are none or the limit is too small: then what was written is of no use.
    """
    file = FileBytes(read_at, size)
    settings = _Settings()
    folds: list[Fold] = []
    end = written = 0
    try:
        for stream in StreamSearch(file):
            if len(folds) == MAX_FOLDS:
                break
            setting = settings.find(file, stream)
            if setting is None:
                continue
            written += stream.start - end + stream.plain
            if written > limit:
                return None
            _copy(file.pieces(end, stream.start), out)
            _copy(plain_pieces(file, stream), out)
            folds.append(Fold(stream.start - end, stream.plain, *setting, stream.name))
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


class _Settings:
    """Which (level, mem_level) to try on a stream: what worked last comes first."""

    def __init__(self) -> None:
        self._last = _FIRST_CHOICE
        self._failed = 0

    def find(self, file: FileBytes, stream: DeflateStream) -> tuple[int, int] | None:
        if stream.plain > _MAX_TRIED_BYTES or stream.packed > _most_packed(stream.plain):
            return None
        for setting in self._order():
            if _makes_again(file, stream, setting):
                self._last, self._failed = setting, 0
                return setting
        self._failed += 1
        return None

    def _order(self) -> Iterator[tuple[int, int]]:
        yield self._last
        if self._failed < _HOPELESS:
            yield from (setting for setting in _ALL if setting != self._last)


def _most_packed(plain: int) -> int:
    """Return zlib's own bound of what deflating gives, and a little: more is not of zlib (deflateBound, RFC 1951)."""
    return plain + plain // 8 + plain // 64 + 64


def _makes_again(file: FileBytes, stream: DeflateStream, setting: tuple[int, int]) -> bool:
    """Deflate the plain bytes beside the packed ones, up to the first difference."""
    compressor = deflater(*setting)
    same = 0
    for plain in plain_pieces(file, stream):
        for at in range(0, len(plain), PIECE_BYTES):
            packed = compressor.compress(plain[at : at + PIECE_BYTES])
            if not file.has(stream.start + same, packed):
                return False
            same += len(packed)
    packed = compressor.flush()
    return same + len(packed) == stream.packed and file.has(stream.start + same, packed)
