"""Folds: the words that unfolding, folding and the list of folds share, and their limits.

The unfolded form of a file has, for each deflate stream found in it, the plain bytes instead. A fold is what deflating
one stream again takes: how many raw bytes come before it, how many plain bytes it has, and the settings of zlib.

Source: docs/formats/patch.md, the section on folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from imagedelta.limits import MIB

PIECE_BYTES = 64 * 1024
"""Files are read, inflated and deflated in pieces of at most this."""
MAX_FOLDS = 100_000
"""Per file. A list of so many takes about 20 MiB; zip without its 64-bit form has at most 65,535 members."""
MAX_PLAIN_BYTES = 256 * MIB
"""Of one stream. A file with a longer one has no unfolded form; a fixed number, since both sides must find the same."""
RAW_DEFLATE = -15
"""zlib's ``wbits`` for deflate with neither header nor checksum and a window of 32 KiB."""
LEVELS = range(1, 10)
MEM_LEVELS = range(8, 10)
MAX_BLOCKS = 100_000
"""That are ended by hand, in one file: a block takes zlib some 10 µs, however short it is."""

ReadAt = Callable[[int, int], bytes]
"""(offset, length) → exactly so many bytes; never asked for bytes after the end."""
Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class BaseFold:
    """A stream of a base file: how it was deflated is never asked."""

    raw: int
    """Bytes between the stream before, or the start, and this one."""
    packed: int
    """Bytes of the deflate stream."""
    plain: int
    """Bytes it inflates to, at least 1."""
    name: int = field(default=0, compare=False)
    """CRC-32 of the member's name: aligns two lists on the encoder's side, and is in no format."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A stream of the target, which zlib makes again from its plain bytes."""

    raw: int
    plain: int
    level: int
    mem_level: int
    blocks: tuple[int, ...] = ()
    """Plain bytes of each block that is ended by hand, at least 1; what follows is zlib's to cut."""
    name: int = field(default=0, compare=False)
    """As in ``BaseFold``; 0 in a list that was read."""
