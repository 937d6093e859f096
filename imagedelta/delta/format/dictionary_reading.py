"""LZMA2 with old text as preset dictionary, read by Python's own lzma module.

A decoder need not know what a preset dictionary is: fed with the old text as uncompressed LZMA2 chunks, whose
output is thrown away, it stands where the encoder stood.

Source: liblzma's lzma2_decoder.c for the chunks, also in docs/formats/patch.md, section 5.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator

_CHUNK_BYTES = 64 * 1024
_RESET_AND_COPY, _COPY = b"\x01", b"\x02"


def decoder_behind(dictionary: Iterable[bytes], dictionary_bytes: int) -> lzma.LZMADecompressor:
    """Return a decoder of a raw LZMA2 stream that was coded behind ``dictionary``, with the old text in its window.

    Args:
        dictionary: The old text, in pieces of any size, at most ``dictionary_bytes`` in all.
    """
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": dictionary_bytes}])
    control = _RESET_AND_COPY
    for piece in _chunks(dictionary):
        decoder.decompress(control + (len(piece) - 1).to_bytes(2, "big") + piece)
        control = _COPY
    return decoder


def _chunks(dictionary: Iterable[bytes]) -> Iterator[bytes]:
    for piece in dictionary:
        for at in range(0, len(piece), _CHUNK_BYTES):
            yield piece[at : at + _CHUNK_BYTES]
