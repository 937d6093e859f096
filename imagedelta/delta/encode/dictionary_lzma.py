"""LZMA2 with old text as preset dictionary, written by liblzma itself.

Python's lzma cannot write with one, so the liblzma is called that Python's module is linked with. Devices only read
(``imagedelta.delta.format.dictionary_reading``), and need no more than Python's module.

Source: liblzma's lzma/lzma12.h (lzma_options_lzma).
"""

from __future__ import annotations

import _lzma
import ctypes
import lzma
from functools import cache

from imagedelta.errors import ImageDeltaError

_ROOM_FOR_CHUNK_HEADERS = 64 * 1024
_PRESET_EXTREME = 9 | lzma.PRESET_EXTREME
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


def compress(dictionary: bytes, data: bytes, dictionary_bytes: int) -> bytes:
    """Return ``data`` as a raw LZMA2 stream behind ``dictionary``.

    Args:
        dictionary: Only its last ``dictionary_bytes`` are of use.
        dictionary_bytes: How far matches may reach back, in ``dictionary`` as in ``data``. Memory: 12 times as much.

    Raises:
        ImageDeltaError: ``can_compress`` is false, or liblzma refuses.
    """
    library = _library()
    if library is None:
        raise ImageDeltaError("Python's lzma module gives no access to liblzma")
    dictionary = dictionary[-dictionary_bytes:]
    options = _Options()
    library.lzma_lzma_preset(ctypes.byref(options), ctypes.c_uint32(_PRESET_EXTREME))
    options.dict_size, options.pb = dictionary_bytes, 0
    before = ctypes.create_string_buffer(dictionary, len(dictionary)) if dictionary else None
    if before is not None:
        options.preset_dict, options.preset_dict_size = ctypes.addressof(before), len(dictionary)
    filters = (_Filter * 2)()
    filters[0].id, filters[0].options = lzma.FILTER_LZMA2, ctypes.addressof(options)
    filters[1].id = _LAST_FILTER
    room = len(data) + len(data) // 1024 + _ROOM_FOR_CHUNK_HEADERS
    out = ctypes.create_string_buffer(room)
    used = ctypes.c_size_t(0)
    result = library.lzma_raw_buffer_encode(
        filters, None, data, ctypes.c_size_t(len(data)), out, ctypes.byref(used), ctypes.c_size_t(room)
    )
    if result != _OK:
        raise ImageDeltaError(f"liblzma refuses to compress {len(data)} bytes: error {result}")
    return ctypes.string_at(out, used.value)


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(getattr(_lzma, "__file__", None))
        library.lzma_lzma_preset.restype = ctypes.c_ubyte
        library.lzma_raw_buffer_encode.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library
