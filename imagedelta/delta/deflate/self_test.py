"""Whether this machine's zlib deflates as zlib does: folds promise bytes, and zlib-ng, for one, gives others.

Source: docs/adr/0011.
"""

from __future__ import annotations

import hashlib
from functools import cache

from imagedelta.delta.deflate.folding import Deflater
from imagedelta.delta.deflate.folds import LEVELS, MEM_LEVELS, PIECE_BYTES

_SAMPLE_BYTES = 160 * 1024
"""Several windows of 32 KiB, and several blocks."""
_BLOCKS = (5_000, 40_000, 1, 33_000, 60_000)
_EXPECTED = "07d1ee004c1178ac60a5954db3f6c0f1497083e956bc967528495221deb0a91b"
_EXPECTED_CUT = "55b742ebc30ee442c1339dce875523c6df05c9b496c9d132eebd4d3ca77d8785"
"""Of what zlib 1.2.13 makes of the sample with all settings that folds can name, as it is and with these blocks."""


@cache
def deflate_is_zlib() -> bool:
    """Try all settings of zlib that folds can name; a fifth of a second, once."""
    sample = _sample()
    return (_digest(sample, ()), _digest(sample, _BLOCKS)) == (_EXPECTED, _EXPECTED_CUT)


def _digest(sample: bytes, blocks: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    for level in LEVELS:
        for mem_level in MEM_LEVELS:
            deflater = Deflater(level, mem_level, blocks)
            for at in range(0, len(sample), PIECE_BYTES):
                digest.update(deflater.compress(sample[at : at + PIECE_BYTES]))
            digest.update(deflater.finish())
    return digest.hexdigest()


def _sample() -> bytes:
    """Return words of one to 32 letters that come again at all distances, some with a letter changed, and noise."""
    state, out = 1, bytearray(b"imagedelta")
    while len(out) < _SAMPLE_BYTES:
        state = (state * 1103515245 + 12345) % (1 << 31)
        length, kind = 1 + (state >> 8) % 32, (state >> 16) % 8
        start = (state >> 4) % len(out)
        word = out[start : start + length]
        if kind == 0:
            word = bytearray((state * number >> 12) % 251 for number in range(length))
        elif kind == 1:
            word[0] ^= state >> 20 & 31
        out += word
    return bytes(out[:_SAMPLE_BYTES])
