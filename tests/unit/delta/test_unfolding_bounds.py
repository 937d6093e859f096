"""When a file has no unfolded form: cloud, device and any other reader must give up on the very same files."""

import zlib

import pytest

from imagedelta.delta.deflate.unfolding import unfold
from imagedelta.limits import MIB
from tests.vectors import reader
from tests.vectors.make import noise, packed, text

GOOD = packed({"good": text(90)})


def unfolds(file: bytes) -> bool:
    """Return whether our reader unfolds a file; the second one must say the same."""
    found = unfold(lambda offset, length: file[offset : offset + length], len(file), lambda data: None)
    assert bool(found) == bool(reader.unfolded(file)[1])
    return bool(found)


RUNS = b"".join(bytes([byte]) * 40 for byte in noise(90_000, 1))


def broken(plain: bytes, behind: bytes) -> bytes:
    """Return a zip header whose deflate stream makes these bytes and then goes on as something else than deflate."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"PK\3\4" + bytes(4) + b"\x08\0" + bytes(20) + stream + behind


@pytest.mark.parametrize(
    ("plain", "count"),
    [(bytes(5 * MIB), 4), (bytes(5 * MIB + 12_345), 4), (bytes(130_000), 300), (RUNS, 8), (RUNS[: 2 * MIB + 77], 14)],
    ids=["zeros", "more zeros", "few zeros", "runs", "fewer runs"],
)
@pytest.mark.parametrize("behind", [b"\xff" * 40, b"\x07" * 300], ids=["long", "short"])
def test_both_readers_give_up_at_the_same_byte(plain, count, behind):
    """Every byte of a file allows four more bytes of broken streams: the shortest that suffices is found by halving."""
    file = GOOD + b"".join(broken(plain, behind + bytes(number)) for number in range(count))
    too_short, enough = 0, 2 * MIB
    while enough - too_short > 1:
        middle = (too_short + enough) // 2
        too_short, enough = (too_short, middle) if unfolds(file + bytes(middle)) else (middle, enough)

    assert not unfolds(file + bytes(enough - 1))
    assert unfolds(file + bytes(enough))
    assert too_short > 0, "the bound was met"


@pytest.mark.parametrize("count", [100_000, 100_001])
def test_a_hundred_thousand_streams_are_unfolded_and_no_more(count):
    one = b"PK\3\4" + bytes(4) + b"\x08\0" + bytes(20) + b"\x4b\x04\0"

    assert unfolds(one * count) == (count == 100_000)


def test_a_stream_of_more_than_256_mib_is_not_unfolded():
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    start = b"".join(packer.compress(bytes(MIB)) for _ in range(256))
    header = b"PK\3\4" + bytes(4) + b"\x08\0" + bytes(20)

    assert unfolds(header + start + packer.copy().flush())
    assert not unfolds(header + start + packer.compress(b"x") + packer.flush())
