"""Streams of GNU gzip, whose blocks end elsewhere than zlib's: found, listed, made again, refused where they lie."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import zlib

import pytest

from imagedelta import leb128
from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.deflate.fold_list import read_folds, write_folds
from imagedelta.delta.deflate.fold_search import FileBytes
from imagedelta.delta.deflate.folding import Deflater, Folder
from imagedelta.delta.deflate.folds import MAX_BLOCKS, Fold
from imagedelta.delta.encode.deflate_blocks import DeflateBlocks, NotParsed
from imagedelta.delta.encode.fold_finding import find_folds
from imagedelta.delta.format.profiles import V1_64M, V2_64M
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt, streams_of

_HEADER_BYTES = 10


def changelog(entries: int) -> bytes:
    """Return text of few matches, all long: GNU gzip ends a block early where that packs well (deflate.c, TRUNCATE)."""
    chance = random.Random(1)
    phrases = [chance.randbytes(40).hex().encode() for _ in range(20)]
    return b"".join(
        b"%d %s %s\n" % (entry, chance.randbytes(4).hex().encode(), phrases[entry % 20]) for entry in range(entries)
    )


def gnu_gzip(plain: bytes, level: int = 9) -> bytes:
    return subprocess.run(["gzip", "-n", f"-{level}"], input=plain, capture_output=True, check=True, timeout=60).stdout


def reader(data: bytes):
    return lambda offset, length: data[offset : offset + length]


def blocks_of(stream: bytes) -> list[int]:
    return list(DeflateBlocks(FileBytes(reader(stream), len(stream)), 0))


def folds_of(file: bytes) -> tuple[list[Fold] | None, bytes]:
    unfolded = io.BytesIO()
    return find_folds(reader(file), len(file), unfolded.write, 64 * MIB, cutting=True), unfolded.getvalue()


def folded(folds: list[Fold], plain: bytes, piece: int = 5000) -> bytes:
    out = io.BytesIO()
    folder = Folder(iter(folds), out.write, len(plain))
    for at in range(0, len(plain), piece):
        folder.write(plain[at : at + piece])
    folder.finish()
    return out.getvalue()


def listed(folds: list[Fold]) -> StreamTape:
    data = write_folds(folds, None, with_blocks=True)
    return StreamTape("folds", iter([data]), len(data))


@pytest.mark.parametrize("level", range(3, 10))
def test_what_gnu_gzip_packed_is_made_again(level):
    file = gnu_gzip(changelog(4_000), level)

    folds, unfolded = folds_of(file)

    assert folds and folds[0].blocks
    assert unfolded[_HEADER_BYTES : _HEADER_BYTES + folds[0].plain] == gzip.decompress(file)
    assert folded(folds, unfolded) == folded(folds, unfolded, 1) == file
    assert read_folds(listed(folds).number, None, len(unfolded), with_blocks=True) == folds


def test_without_leave_to_cut_blocks_nothing_of_it_is_unfolded():
    file = gnu_gzip(changelog(4_000))

    assert find_folds(reader(file), len(file), io.BytesIO().write, 64 * MIB) is None


def test_a_changelog_costs_its_new_entries(tmp_path):
    old, new = changelog(4_000), b"a new entry\n" * 3 + changelog(4_000)
    source, target = (an_image({"usr/share/doc/x/changelog.gz": gnu_gzip(text)}) for text in (old, new))

    packed, _ = a_patch(target, source, scratch=tmp_path, profile=V1_64M)
    cut, _ = a_patch(target, source, scratch=tmp_path, profile=V2_64M)

    assert Role.FOLDS in streams_of(cut) and Role.FOLDS not in streams_of(packed)
    assert len(cut) < len(packed) / 20
    assert_rebuilt(target, cut, source)


WAYS = [
    (1, zlib.Z_DEFAULT_STRATEGY),
    (6, zlib.Z_DEFAULT_STRATEGY),
    (9, zlib.Z_FIXED),
    (6, zlib.Z_HUFFMAN_ONLY),
    (6, zlib.Z_RLE),
]


def mixed() -> bytes:
    """Text, then bytes that blocks store, then a row of one byte."""
    return changelog(800) + random.Random(2).randbytes(100_000) + bytes(70_000)


@pytest.mark.parametrize(("level", "strategy"), WAYS)
def test_blocks_are_found_where_zlib_ended_them(level, strategy):
    """Ended there by hand, too, the stream stays the same."""
    plain = mixed()
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    stream = packer.compress(plain) + packer.flush()

    again, made, at = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy), b"", 0
    blocks = blocks_of(stream)
    for block in blocks:
        made += again.compress(plain[at : at + block]) + again.flush(zlib.Z_BLOCK)
        at += block

    assert len(blocks) > 1
    assert made + again.compress(plain[at:]) + again.flush() == stream


def test_empty_blocks_of_a_compressor_that_was_flushed_are_seen():
    packer, plain = zlib.compressobj(6, zlib.DEFLATED, -15), changelog(2_500)
    pieces = [packer.compress(plain[at : at + 999]) + packer.flush(zlib.Z_SYNC_FLUSH) for at in range(0, 9990, 999)]

    assert blocks_of(b"".join(pieces) + packer.flush()) == [999, 0] * 10


@pytest.mark.parametrize("mem_level", [8, 9])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_blocks_that_zlib_ended_by_hand_are_found_there(level, mem_level):
    plain, wanted = changelog(2_500), (1, 40_000, 7, 60_000, 999)
    deflater = Deflater(level, mem_level, wanted)
    stream = deflater.compress(plain) + deflater.finish()

    assert zlib.decompress(stream, wbits=-15) == plain
    found, total, ends = blocks_of(stream), 0, set()
    for block in found:
        total += block
        ends.add(total)
    assert {1, 40_001, 40_008, 100_008, 101_007} <= ends


def test_damaged_streams_end_in_a_word_or_a_list_and_never_hang():
    chance, ended = random.Random(4), {True: 0, False: 0}
    for level, strategy in WAYS:
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, 1, strategy)
        stream = packer.compress(mixed()) + packer.flush()
        for _ in range(60):
            start = chance.choice([0, chance.randrange(len(stream))])
            data = bytearray(stream[start : start + chance.randint(1, 4000)])
            for _ in range(chance.randint(0, 3)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            try:
                assert len(blocks_of(bytes(data))) <= 8 * len(data)
                ended[True] += 1
            except NotParsed:
                ended[False] += 1
    assert ended[False] > 100


def test_hopeless_streams_stay_as_they_are():
    """The matches are others than those of any level."""
    plain = changelog(2_500)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 3, zlib.Z_FILTERED)
    file = gnu_gzip(b"")[:_HEADER_BYTES] + packer.compress(plain) + packer.flush() + bytes(8)

    folds, _ = folds_of(file)

    assert folds is None


def numbers(*values: int) -> bytes:
    return b"".join(leb128.encode(value) for value in values)


def read(data: bytes, size: int = 10_000) -> list[Fold]:
    return read_folds(StreamTape("folds", iter([data]), len(data)).number, None, size, with_blocks=True)


SETTING = 2 * (19 - 12)
"""Level 9, mem level 9, after the usual setting; as a signed number."""


def test_a_fold_with_blocks_reads_as_it_is_written_down():
    assert read(numbers(1, 0, 20, 2000, SETTING, 3, 5, 6, 7)) == [Fold(10, 1000, 9, 9, (5, 6, 7))]


@pytest.mark.parametrize("blocks", [(1, 0), (2, 500, 501), (1, 1 << 62)])
def test_blocks_that_cannot_be_are_refused(blocks):
    with pytest.raises(ContentError):
        read(numbers(1, 0, 20, 2000, SETTING, *blocks))


def test_more_blocks_than_a_file_may_have_are_refused_before_room_is_made():
    with pytest.raises(LimitExceeded):
        read(numbers(1, 0, 0, 2 << 27, SETTING, MAX_BLOCKS + 1), 1 << 40)
