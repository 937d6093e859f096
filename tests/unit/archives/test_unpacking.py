"""Packed layers as builders really write them: several members, frames to skip, padding."""

from __future__ import annotations

import gzip
import io
import random
import struct

import pytest
import zstandard

from imagedelta.archives.unpacking import Section, packing_of, unpack
from imagedelta.errors import ContentError, DependencyError, Truncated
from imagedelta.limits import MIB, Limits

PLAIN = b"layer bytes " * 20_000
SKIPPABLE = struct.pack("<II", 0x184D2A50, 40) + b"s" * 40


def unpacked(data: bytes, limits: Limits | None = None) -> bytes:
    return b"".join(unpack(Section(io.BytesIO(data), 0, len(data)), limits or Limits()))


@pytest.mark.parametrize(
    "packed",
    [
        PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(PLAIN[:5000]) + gzip.compress(b"") + gzip.compress(PLAIN[5000:]),  # eStargz
        gzip.compress(PLAIN) + bytes(700),
        zstandard.compress(PLAIN),
        zstandard.compress(PLAIN[:5000]) + zstandard.compress(PLAIN[5000:]),
        zstandard.compress(PLAIN) + SKIPPABLE,  # zstd:chunked keeps its index in one
        SKIPPABLE + zstandard.compress(PLAIN),
    ],
)
def test_every_packing_in_use_is_unpacked(packed):
    assert unpacked(packed) == PLAIN


def test_nothing_unpacks_to_nothing():
    assert unpacked(b"") == b""


def test_pieces_are_at_most_a_mebibyte():
    data = gzip.compress(bytes(5 * MIB))

    assert max(len(piece) for piece in unpack(Section(io.BytesIO(data), 0, len(data)), Limits())) <= MIB


@pytest.mark.parametrize("cut", [1, 5, 12, 100, 300])
def test_gzip_that_ends_early_is_truncated(cut):
    with pytest.raises(Truncated):
        unpacked(gzip.compress(PLAIN)[:-cut])


def test_anything_but_padding_behind_gzip_is_refused():
    with pytest.raises(ContentError):
        unpacked(gzip.compress(PLAIN) + b"\0\0garbage")


def test_a_section_ends_where_it_should_or_is_truncated():
    section = Section(io.BytesIO(b"0123456789"), 2, 5)
    assert (section.read(3), section.read(3), section.read(3)) == (b"234", b"56", b"")

    cut = Section(io.BytesIO(b"0123"), 2, 5)
    assert cut.read(5) == b"23"
    with pytest.raises(Truncated):
        cut.read(3)


def test_packings_are_known_by_their_first_bytes():
    assert [packing_of(data) for data in (b"etc/", gzip.compress(b""), zstandard.compress(b""), SKIPPABLE)] == [
        None,
        "gzip",
        "zstd",
        "zstd",
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_store_that_stops_answering_is_an_error_to_retry_and_not_the_end(pack):
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= MIB:
                raise DependencyError("the store does not answer")
            return super().read(size)

    data = pack(random.Random(1).randbytes(3 * MIB))

    with pytest.raises(DependencyError):
        list(unpack(Section(Failing(data), 0, len(data)), Limits()))
