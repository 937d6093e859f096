"""Context mixing in C: residual bytes beside the old bytes that they belong to, and new bytes.

Residual bytes come span by span: a stretch of at most ``SPAN_BYTES`` of old bytes, and as many residual bytes. Both
sides must cut spans alike; a decoder makes them one by one, as its old bytes come. A span may say where in it numbers
are: twice the place of each, in ascending order, and 1 more for one of eight bytes instead of four.

Source: docs/formats/context-mixing.md.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from imagedelta_native._native import ffi, lib
from imagedelta_native.data import predict_addresses as predict_addresses
from imagedelta_native.data import predict_distances as predict_distances
from imagedelta_native.data import predict_frames as predict_frames
from imagedelta_native.data import predict_relocations as predict_relocations
from imagedelta_native.data import predict_symbols as predict_symbols
from imagedelta_native.operands import add_numbers as add_numbers
from imagedelta_native.operands import predict_aarch64 as predict_aarch64
from imagedelta_native.operands import predict_x86_64 as predict_x86_64

LEAST_BITS: int = lib.MIXING_BITS_LEAST
MOST_BITS: int = lib.MIXING_BITS_MOST
"""A model has 2 to the power of ``bits`` buckets for each context; both sides must say the same."""
FEED_BYTES: int = lib.MIXING_FEED
SPAN_BYTES = 65536

Read = Callable[[int], bytes]
"""Most bytes → the next coded bytes; none at the end."""


def memory_bytes(bits: int) -> int:
    """Return what a decoder takes at most; an encoder takes as much, and what it coded of one piece."""
    fixed, buckets = lib.MIXING_FIXED, lib.MIXING_BUCKETS
    return int(fixed + (buckets << bits))


class Damaged(ValueError):
    """Coded bytes end too early, or go on after what was made of them."""


class ResidualEncoder:
    """Codes residual bytes, span by span."""

    def __init__(self, bits: int = MOST_BITS) -> None:
        self._model = _model(lib.MIXING_RESIDUAL, bits, decoding=False)

    def span(self, residual: bytes, old: bytes, numbers: Sequence[int] = (), place: int = 0) -> bytes:
        """Return what is coded so far and was not returned yet.

        Args:
            place: Of the span in the new file.
        """
        if len(residual) != len(old) or len(old) > SPAN_BYTES:
            raise ValueError(f"a span of {len(residual)} residual bytes and {len(old)} old ones")
        with _Span(self._model, old, numbers, place):
            return _encoded(self._model, residual)

    def finish(self) -> bytes:
        """Return the rest of the coded bytes."""
        return _end(self._model)


def encode_bytes(pieces: Iterable[bytes], bits: int = MOST_BITS) -> Iterator[bytes]:
    """Yield the coded form of new bytes, in pieces; how they are cut changes nothing."""
    model = _model(lib.MIXING_BYTES, bits, decoding=False)
    for piece in pieces:
        yield _encoded(model, piece)
    yield _end(model)


class ResidualDecoder:
    """Makes residual bytes, span by span."""

    def __init__(self, read: Read, bits: int = MOST_BITS) -> None:
        self._decoder = _Decoder(lib.MIXING_RESIDUAL, read, bits)

    def span(self, old: bytes, numbers: Sequence[int] = (), place: int = 0) -> bytes:
        """Return the residual bytes of the next span; raises ``Damaged``."""
        if len(old) > SPAN_BYTES:
            raise ValueError(f"a span of {len(old)} bytes")
        with _Span(self._decoder.model, old, numbers, place):
            return self._decoder.make(len(old))

    def finish(self) -> None:
        """Raises ``Damaged`` when the coded bytes go on after the last span."""
        self._decoder.finish()


class BytesDecoder:
    """Makes new bytes; how many there are, its caller knows."""

    def __init__(self, read: Read, bits: int = MOST_BITS) -> None:
        self._decoder = _Decoder(lib.MIXING_BYTES, read, bits)

    def make(self, size: int) -> bytes:
        """Return the next ``size`` bytes; raises ``Damaged``."""
        return self._decoder.make(size)

    def finish(self) -> None:
        """Raises ``Damaged`` when the coded bytes go on after the last byte."""
        self._decoder.finish()


class _Span:
    """What the coder reads of a span, which must not move while it does."""

    def __init__(self, model: Any, old: bytes, numbers: Sequence[int], place: int) -> None:
        places = array("I", numbers)
        self._kept = (ffi.from_buffer("uint8_t[]", old), ffi.from_buffer("uint32_t[]", places))
        fields = [self._kept[0], len(old), self._kept[1], len(places), place & 0xFFFFFFFF]
        self._span = ffi.new("mixing_span *", fields)
        lib.mixing_begin(model, self._span)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        ffi.release(self._span)


class _Decoder:
    def __init__(self, kind: int, read: Read, bits: int) -> None:
        self.model = _model(kind, bits, decoding=True)
        self._read = read
        self._feed()

    def make(self, size: int) -> bytes:
        out = bytearray(size)
        target, at = ffi.from_buffer("uint8_t[]", out), 0
        while (at := lib.mixing_decode(self.model, target, at, size)) < size:
            self._check()
            self._feed()
        self._check()
        return bytes(out)

    def finish(self) -> None:
        while coded := self._feed():
            if len(coded) == FEED_BYTES:
                raise Damaged("coded bytes go on after their end")
        if not lib.mixing_is_used_up(self.model):
            raise Damaged("coded bytes are left over")

    def _feed(self) -> bytes:
        coded = self._read(FEED_BYTES)
        if lib.mixing_feed(self.model, coded, len(coded), not coded):
            raise Damaged("coded bytes go on after their end")
        return coded

    def _check(self) -> None:
        if lib.mixing_is_damaged(self.model):
            raise Damaged("coded bytes end too early")


def _model(kind: int, bits: int, decoding: bool) -> Any:
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"2^{bits} buckets for a context")
    model = lib.mixing_new(kind, bits, decoding)
    if model == ffi.NULL:
        raise MemoryError(f"a model of context mixing takes {memory_bytes(bits)} bytes")
    return ffi.gc(model, lib.mixing_free, size=memory_bytes(bits))


def _encoded(model: Any, data: bytes) -> bytes:
    if lib.mixing_encode(model, data, len(data)):
        raise MemoryError("no memory for coded bytes")
    return _taken(model)


def _end(model: Any) -> bytes:
    if lib.mixing_end(model):
        raise MemoryError("no memory for coded bytes")
    return _taken(model)


def _taken(model: Any) -> bytes:
    size = ffi.new("size_t *")
    coded = lib.mixing_coded(model, size)
    taken = bytes(ffi.buffer(coded, size[0])) if size[0] else b""
    lib.mixing_drop(model)
    return taken
