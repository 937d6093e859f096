"""Packed layers as builders really write them: several members, frames to skip, padding."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
from typing import ClassVar
from unittest import mock

import pytest
import zstandard

from imagedelta.archives.unpacking import MAGIC_BYTES, Section, _Gzip, packing_of, unpack
from imagedelta.errors import ContentError, DependencyError, Truncated
from imagedelta.limits import KIB, MIB, Limits

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
        bz2.compress(PLAIN),
        bz2.compress(PLAIN[:5000]) + bz2.compress(PLAIN[5000:]),  # pbzip2
        lzma.compress(PLAIN),
        lzma.compress(PLAIN[:5000]) + bytes(8) + lzma.compress(PLAIN[5000:]),  # xz stream padding
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


def test_thousands_of_tiny_members_come_in_few_pieces():
    """eStargz packs each file on its own; each piece costs whoever hashes or stores it."""
    data = b"".join(gzip.compress(PLAIN[at : at + 100], mtime=0) for at in range(0, len(PLAIN), 100))

    pieces = list(unpack(Section(io.BytesIO(data), 0, len(data)), Limits()))

    assert (b"".join(pieces), len(pieces)) == (PLAIN, -(-len(PLAIN) // (64 * KIB)))


def test_small_and_large_members_stay_in_order():
    parts = [
        bytes([number]) * size for number, size in enumerate((1, 70_000, 3, 5, MIB + 1, 2, 64 * KIB, 64 * KIB - 1))
    ]
    data = b"".join(map(gzip.compress, parts))

    pieces = list(unpack(Section(io.BytesIO(data), 0, len(data)), Limits()))

    assert b"".join(pieces) == b"".join(parts)
    assert max(map(len, pieces)) <= MIB


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("cut", [1, 5, 12, 30])
def test_packed_bytes_that_end_early_are_truncated(pack, cut):
    with pytest.raises(Truncated):
        unpacked(pack(PLAIN)[:-cut])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_anything_but_padding_behind_packed_bytes_is_refused(pack):
    with pytest.raises(ContentError):
        unpacked(pack(PLAIN) + b"\0\0garbage")


def test_many_tiny_members_copy_little():
    """eStargz has one for each few kilobytes: what a member does not use must not be most of a piece."""
    members = b"".join(gzip.compress(PLAIN[at : at + 1000], mtime=0) for at in range(0, len(PLAIN), 1000))
    stored = Section(io.BytesIO(members), 0, len(members))

    with mock.patch("imagedelta.archives.unpacking._Gzip", Counting):
        assert b"".join(unpack(stored, Limits())) == PLAIN
    assert max(Counting.unused) <= 64 * KIB


class Counting(_Gzip):
    unused: ClassVar[list[int]] = []

    @property
    def unused_data(self) -> bytes:
        self.unused.append(len(super().unused_data))
        return super().unused_data


def test_a_section_ends_where_it_should_or_is_truncated():
    section = Section(io.BytesIO(b"0123456789"), 2, 5)
    assert (section.read(3), section.read(3), section.read(3)) == (b"234", b"56", b"")

    cut = Section(io.BytesIO(b"0123"), 2, 5)
    assert cut.read(5) == b"23"
    with pytest.raises(Truncated):
        cut.read(3)


def test_packings_are_known_by_their_first_bytes():
    known = {
        b"etc/": None,
        b"BZhang/report.txt": None,
        gzip.compress(b""): "gzip",
        zstandard.compress(b""): "zstd",
        SKIPPABLE: "zstd",
        bz2.compress(b""): "bzip2",
        bz2.compress(b"x"): "bzip2",
        lzma.compress(b""): "xz",
    }

    assert {data: packing_of(data[:MAGIC_BYTES]) for data in known} == known


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, bz2.compress, lzma.compress])
def test_a_store_that_stops_answering_is_an_error_to_retry_and_not_the_end(pack):
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= MIB:
                raise DependencyError("the store does not answer")
            return super().read(size)

    data = pack(random.Random(1).randbytes(3 * MIB))

    with pytest.raises(DependencyError):
        list(unpack(Section(Failing(data), 0, len(data)), Limits()))
