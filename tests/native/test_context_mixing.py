"""The C coder of native/ and its twin in Python, which is the form of the coded bytes."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from imagedelta_native import SPAN_BYTES, BytesDecoder, Damaged, ResidualDecoder, ResidualEncoder, encode_bytes

from tests.native import twin

Spans = list[tuple[bytes, bytes, list[int], int]]
"""Residual and old bytes, places of numbers, and place in the new file."""


def some_spans(size: int, *, seed: int = 5) -> Spans:
    """Moved references in code: the same amount is added to every fortieth word or so; long runs between them."""
    rnd = random.Random(seed)
    old = b"".join(rnd.choice([b"\xe8\x10\x20\x00\x00", b"\x48\x8b\x05\x01\x02\x03\x00", b"\x90"]) for _ in range(size))
    residual = bytearray(size)
    at = 0
    while (at := at + rnd.choice([5, 9, 12, 33, 70, 400])) < size - 4:
        residual[at : at + 2] = rnd.choice([b"\x10\x01", b"\x20\x01", rnd.randbytes(2)])
    cuts = [0, *sorted(rnd.sample(range(1, size), 5)), size]
    return [(bytes(residual[a:b]), old[a:b], some_numbers(b - a, rnd), a) for a, b in pairwise(cuts)]


def some_numbers(size: int, rnd: random.Random) -> list[int]:
    """Of both widths; some overlap, or end behind the span or behind a block of it."""
    return sorted(rnd.sample(range(2 * size), size // 6)) if size < 20_000 else []


def some_bytes(size: int) -> bytes:
    rnd = random.Random(9)
    words = [b"mov ", b"\xe8\x01\x02\x00\x00", b"system.", b"\0\0\0\1", b"function"]
    return b"".join(rnd.choice(words) for _ in range(size))[:size]


def coded_residual(spans: Spans, bits: int = 15) -> bytes:
    encoder = ResidualEncoder(bits)
    return b"".join([*(encoder.span(*span) for span in spans), encoder.finish()])


def coded_bytes(data: bytes, bits: int = 15) -> bytes:
    return b"".join(encode_bytes([data], bits))


def decode_residual(coded: bytes, spans: Spans) -> list[bytes]:
    decoder = ResidualDecoder(io.BytesIO(coded).read)
    made = [decoder.span(*span) for _, *span in spans]
    decoder.finish()
    return made


def decode_bytes(coded: bytes, size: int, bits: int = 15) -> bytes:
    decoder = BytesDecoder(io.BytesIO(coded).read, bits)
    made = decoder.make(size)
    decoder.finish()
    return made


@pytest.mark.parametrize(("seed", "bits", "size"), [(0, 15, 1500), (1, 8, 1500), (2, 11, 9000)])
def test_the_twin_makes_of_coded_residuals_what_c_was_given(seed: int, bits: int, size: int) -> None:
    spans = some_spans(size, seed=seed)

    coded = twin.Residual(coded_residual(spans, bits), bits)

    assert [coded.span(*span) for _, *span in spans] == [residual for residual, *_ in spans]
    assert coded.coder.at == len(coded.coder.coded)


@pytest.mark.parametrize("bits", [8, 15])
def test_the_twin_makes_of_coded_new_bytes_what_c_was_given(bits: int) -> None:
    data = some_bytes(700) + random.Random(2).randbytes(100)

    assert twin.NewBytes(coded_bytes(data, bits), bits).make(len(data)) == data


def test_long_residuals_come_out_as_they_went_in() -> None:
    spans = [span for seed in range(40) for span in some_spans(30_000, seed=seed)]
    spans.append((bytes(SPAN_BYTES), random.Random(1).randbytes(SPAN_BYTES), [], 0))

    coded = coded_residual(spans)

    assert decode_residual(coded, spans) == [residual for residual, *_ in spans]


def test_new_bytes_beyond_what_is_remembered_come_out_as_they_went_in() -> None:
    rnd = random.Random(4)
    block = rnd.randbytes(300)
    data = b"".join(block + rnd.randbytes(1) + bytes(3000) for _ in range(330))

    coded = coded_bytes(data, 8)

    assert len(data) > 1 << 20
    assert decode_bytes(coded, len(data), 8) == data
    assert len(coded) < 6000


def test_how_new_bytes_are_cut_changes_nothing() -> None:
    data = some_bytes(5000)

    assert b"".join(encode_bytes(data[at : at + 7] for at in range(0, len(data), 7))) == coded_bytes(data)


def test_coded_bytes_that_come_one_by_one_are_the_same() -> None:
    data = some_bytes(5000)
    file = io.BytesIO(coded_bytes(data))

    assert BytesDecoder(lambda most: file.read(1)).make(len(data)) == data


def test_old_bytes_help() -> None:
    rnd = random.Random(3)
    old = rnd.randbytes(200) * 100
    residual = bytes(byte if byte < 30 else 0 for byte in old)
    spans: Spans = [(residual, old, [], 0)]

    assert len(coded_residual(spans)) * 2 < len(coded_bytes(residual)) + 400


Cut = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage", [lambda coded: coded[:-1], lambda coded: coded[:3], lambda coded: b"", lambda coded: coded + b"\0"]
)
def test_coded_bytes_cut_or_lengthened_are_damaged(damage: Cut) -> None:
    spans, data = some_spans(3000), some_bytes(3000)

    with pytest.raises(Damaged):
        decode_residual(damage(coded_residual(spans)), spans)
    with pytest.raises(Damaged):
        decode_bytes(damage(coded_bytes(data)), len(data))


def test_much_that_follows_the_end_is_damage() -> None:
    data = some_bytes(300)

    with pytest.raises(Damaged):
        decode_bytes(coded_bytes(data) + bytes(1 << 20), len(data))


def test_a_run_beyond_the_last_span_is_damage() -> None:
    spans: Spans = [(b"\1" + bytes(99), bytes(100), [], 0)]
    decoder = ResidualDecoder(io.BytesIO(coded_residual(spans)).read)
    decoder.span(bytes(80))

    with pytest.raises(Damaged):
        decoder.finish()


@pytest.mark.parametrize("bits", [7, 16])
def test_tables_of_another_size_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="buckets"):
        BytesDecoder(io.BytesIO().read, bits)


def test_a_span_of_two_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="a span of 3 residual bytes and 2 old ones"):
        coded_residual([(b"abc", b"ab", [], 0)])
