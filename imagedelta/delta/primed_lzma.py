"""LZMA2 with old text as preset dictionary: written by liblzma itself, read by Python's own lzma module.

A decoder need not know what a preset dictionary is: fed with the old text as uncompressed LZMA2 chunks, whose
output is thrown away, it stands where the encoder stood. Python's lzma cannot write with one, so the encoder
calls the liblzma that Python's module is linked with, and only it: a device never gets here for writing.

Source: liblzma's lzma/lzma12.h (lzma_options_lzma); lzma2_decoder.c for the chunks, also in docs/formats/patch.md,
section 5.
"""

from __future__ import annotations

import _lzma
import ctypes
import lzma
from collections.abc import Iterable, Iterator
from functools import cache

from imagedelta.errors import ImageDeltaError

_CHUNK_BYTES = 64 * 1024
_RESET_AND_COPY, _COPY = b"\x01", b"\x02"
_PRESET_EXTREME = 9 | lzma.PRESET_EXTREME
_LZMA2_ID = lzma.FILTER_LZMA2
_LAST_FILTER = (1 << 64) - 1
_OK = 0


class _Options(ctypes.Structure):
    """lzma_options_lzma."""

    _fields_ = (
        ("dict_size", ctypes.c_uint32),
        ("preset_dict", ctypes.c_void_p),
        ("preset_dict_size", ctypes.c_uint32),
        ("lc", ctypes.c_uint32),
        ("lp", ctypes.c_uint32),
        ("pb", ctypes.c_uint32),
        ("mode", ctypes.c_int),
        ("nice_len", ctypes.c_uint32),
        ("mf", ctypes.c_int),
        ("depth", ctypes.c_uint32),
        ("ext_flags_and_size", ctypes.c_uint32 * 3),
        ("reserved_ints", ctypes.c_uint32 * 5),
        ("reserved_enums", ctypes.c_int * 4),
        ("reserved_pointers", ctypes.c_void_p * 2),
    )


class _Filter(ctypes.Structure):
    """lzma_filter."""

    _fields_ = (("id", ctypes.c_uint64), ("options", ctypes.c_void_p))


def can_compress() -> bool:
    """Whether this machine's Python is linked with a liblzma that can be called."""
    return _library() is not None


def compress(prime: bytes, data: bytes, dictionary_bytes: int) -> bytes:
    """Return ``data`` as a raw LZMA2 stream behind ``prime``.

    Args:
        prime: Only its last ``dictionary_bytes`` are of use.
        dictionary_bytes: How far matches may reach back, in ``prime`` as in ``data``. Memory: 12 times as much.

    Raises:
        ImageDeltaError: ``can_compress`` is false, or liblzma refuses.
    """
    library = _library()
    if library is None:
        raise ImageDeltaError("Python's lzma module gives no access to liblzma")
    prime = prime[-dictionary_bytes:]
    options = _Options()
    library.lzma_lzma_preset(ctypes.byref(options), ctypes.c_uint32(_PRESET_EXTREME))
    options.dict_size, options.pb = dictionary_bytes, 0
    held = ctypes.create_string_buffer(prime, len(prime)) if prime else None
    if held is not None:
        options.preset_dict, options.preset_dict_size = ctypes.addressof(held), len(prime)
    filters = (_Filter * 2)()
    filters[0].id, filters[0].options = _LZMA2_ID, ctypes.addressof(options)
    filters[1].id = _LAST_FILTER
    room = len(data) + len(data) // 1024 + _CHUNK_BYTES
    out = ctypes.create_string_buffer(room)
    used = ctypes.c_size_t(0)
    result = library.lzma_raw_buffer_encode(
        filters, None, data, ctypes.c_size_t(len(data)), out, ctypes.byref(used), ctypes.c_size_t(room)
    )
    if result != _OK:
        raise ImageDeltaError(f"liblzma refuses to compress {len(data)} bytes: error {result}")
    return ctypes.string_at(out, used.value)


def primed_decoder(prime: Iterable[bytes], dictionary_bytes: int) -> lzma.LZMADecompressor:
    """Return a decoder of what ``compress`` wrote, with the old text in its window.

    Args:
        prime: The old text, in pieces of any size, at most ``dictionary_bytes`` in all.
    """
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[{"id": _LZMA2_ID, "dict_size": dictionary_bytes}])
    control = _RESET_AND_COPY
    for piece in _chunks(prime):
        decoder.decompress(control + (len(piece) - 1).to_bytes(2, "big") + piece)
        control = _COPY
    return decoder


def _chunks(prime: Iterable[bytes]) -> Iterator[bytes]:
    for piece in prime:
        for at in range(0, len(piece), _CHUNK_BYTES):
            yield piece[at : at + _CHUNK_BYTES]


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(getattr(_lzma, "__file__", None))
        library.lzma_lzma_preset.restype = ctypes.c_ubyte
        library.lzma_raw_buffer_encode.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library
