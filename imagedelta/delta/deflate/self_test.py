"""Whether this machine's zlib deflates as zlib does: folds promise bytes, and zlib-ng, for one, gives others.

Source: docs/adr/0011.
"""

from __future__ import annotations

import hashlib
from functools import cache

from imagedelta.delta.deflate.folding import deflater
from imagedelta.delta.deflate.folds import LEVELS, MEM_LEVELS, PIECE_BYTES

_SAMPLE_BYTES = 160 * 1024
"""Several windows of 32 KiB, and several blocks."""
_EXPECTED = "07d1ee004c1178ac60a5954db3f6c0f1497083e956bc967528495221deb0a91b"
"""Of what zlib 1.2.13 makes of the sample with all settings that folds can name."""


@cache
def deflate_is_zlib() -> bool:
    """Try all settings of zlib that folds can name; a tenth of a second, once."""
    digest = hashlib.sha256()
    data = _sample()
    for level in LEVELS:
        for mem_level in MEM_LEVELS:
            compressor = deflater(level, mem_level)
            for at in range(0, len(data), PIECE_BYTES):
                digest.update(compressor.compress(data[at : at + PIECE_BYTES]))
            digest.update(compressor.flush())
    return digest.hexdigest() == _EXPECTED


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
