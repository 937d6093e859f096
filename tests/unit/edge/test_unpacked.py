"""Packed source layers: unpacked once, held against their digest, bounded, and never a fault of the bundle."""

from __future__ import annotations

import gzip
import io
import random

import pytest
import zstandard

from edge_module.engines.unpacked import HINT_BYTES, UnpackedLayers, unpacked_size
from imagedelta.archives import sha256_id
from imagedelta.errors import DependencyError, SourceMissing
from imagedelta.limits import MIB, Limits
from tests.images import gzipped, zstd_packed
from tests.simulators.files import FileSystemSimulator, PowerCut

LAYER = random.Random(1).randbytes(50_000) + bytes(100_000)
DIFF_ID = sha256_id(LAYER)


class Opened:
    """Counts how often the packed layer is opened and closed; reads are short, as from a socket."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opened = self.closed = 0

    def __call__(self) -> io.BytesIO:
        self.opened += 1
        return _Stream(self)


class _Stream(io.BytesIO):
    def __init__(self, owner: Opened) -> None:
        super().__init__(owner.data)
        self._owner = owner

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("a socket")

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 1500))

    def close(self) -> None:
        self._owner.closed += 1
        super().close()


@pytest.fixture
def disk() -> FileSystemSimulator:
    disk = FileSystemSimulator()
    disk.make_folders("scratch")
    return disk


def members(data: bytes) -> bytes:
    """As eStargz: a gzip member for every few kilobytes."""
    return b"".join(gzip.compress(data[at : at + 4000]) for at in range(0, len(data), 4000))


def frames(data: bytes) -> bytes:
    """As zstd:chunked: frames, and one to be skipped."""
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0toc!"
    return zstd_packed(data[:60_000]) + zstd_packed(data[60_000:]) + skipped


@pytest.mark.parametrize("pack", [gzipped, zstd_packed, members, frames, bytes])
def test_a_packed_layer_is_unpacked_once_and_gone_with_the_session(disk: FileSystemSimulator, pack) -> None:
    packed = Opened(pack(LAYER))

    with UnpackedLayers(disk) as layers:
        for _ in range(3):
            assert layers.reader(DIFF_ID, 0, packed).read_at(49_000, 2000) == LAYER[49_000:51_000]
        assert layers.reader(DIFF_ID, 0, packed).size == len(LAYER)
        assert len(disk.list("scratch")) == 1

    assert (packed.opened, packed.closed) == (1, 1)
    assert disk.list("scratch") == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (gzipped(LAYER)[:-3000], "source.different"),
        (zstd_packed(LAYER)[:3000], "source.different"),
        (gzipped(LAYER[:-1]), "source.different"),
        (gzipped(LAYER[:-1] + b"x"), "source.different"),
        (b"", "source.different"),
        (b"\x1f\x8b\x08garbage", "source.different"),
        (zstd_packed(LAYER)[:-1] + b"x", "source.different"),
        (b"PK\x03\x04" + LAYER, "source.missing"),
    ],
)
def test_a_layer_that_does_not_unpack_is_a_lost_source_and_leaves_nothing(
    disk: FileSystemSimulator, data: bytes, code: str
) -> None:
    packed = Opened(data)

    with UnpackedLayers(disk) as layers:
        with pytest.raises(SourceMissing) as raised:
            layers.reader(DIFF_ID, 0, packed)
        assert raised.value.code == code
        assert disk.list("scratch") == []

    assert packed.opened == packed.closed == 1


def test_a_window_larger_than_the_device_has_memory_for_is_a_lost_source(disk: FileSystemSimulator) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=23)
    big = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = Opened(big.compress(LAYER * 100) + big.flush())

    with UnpackedLayers(disk, Limits(max_window_bytes=1 << 20)) as layers, pytest.raises(SourceMissing) as raised:
        layers.reader(sha256_id(LAYER * 100), 0, packed)
    assert raised.value.code == "source.missing"


def test_a_layer_of_zeros_stops_where_an_image_may_be_no_larger(disk: FileSystemSimulator) -> None:
    with UnpackedLayers(disk, Limits(max_image_bytes=3 * MIB)) as layers, pytest.raises(SourceMissing):
        layers.reader(DIFF_ID, 0, Opened(gzipped(bytes(8 * MIB))))

    assert disk.list("scratch") == []


def test_a_disk_without_room_for_the_hint_is_told_before_anything_is_opened(disk: FileSystemSimulator) -> None:
    disk.capacity = 1000
    packed = Opened(gzipped(LAYER))

    with UnpackedLayers(disk) as layers, pytest.raises(DependencyError) as raised:
        layers.reader(DIFF_ID, 2000, packed)
    assert (raised.value.code, packed.opened) == ("disk.full", 0)


def test_a_disk_that_is_full_in_the_middle_gets_its_room_back(disk: FileSystemSimulator) -> None:
    disk.capacity = 70_000
    packed = Opened(gzipped(LAYER))

    with UnpackedLayers(disk) as layers:
        with pytest.raises(DependencyError) as raised:
            layers.reader(DIFF_ID, 0, packed)
        assert (raised.value.code, disk.list("scratch")) == ("disk.full", [])
        disk.capacity = 1 << 20
        assert layers.reader(DIFF_ID, 0, packed).read_at(0, 100) == LAYER[:100]

    assert packed.opened == packed.closed == 2


def test_a_power_cut_is_not_handled_as_an_error(disk: FileSystemSimulator) -> None:
    disk.cut_power_at(2)

    with pytest.raises(PowerCut):
        UnpackedLayers(disk).reader(DIFF_ID, 0, Opened(gzipped(LAYER)))


@pytest.mark.parametrize("pack", [gzipped, zstd_packed])
def test_a_layer_in_one_stream_tells_its_size(pack) -> None:
    packed = pack(LAYER)

    assert unpacked_size(packed[:HINT_BYTES], packed[-4:], len(packed)) == len(LAYER)


@pytest.mark.parametrize("pack", [members, frames])
def test_a_layer_in_many_streams_is_guessed(pack) -> None:
    packed = pack(random.Random(2).randbytes(200_000))

    assert unpacked_size(packed[:HINT_BYTES], packed[-4:], len(packed)) == 4 * len(packed)


@pytest.mark.parametrize("tail", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"", b"x"])
def test_a_size_that_cannot_be_is_not_believed(tail: bytes) -> None:
    packed = gzipped(LAYER)

    assert unpacked_size(packed[:HINT_BYTES], tail, len(packed)) <= max(4, 1032) * len(packed)
    assert unpacked_size(b"", tail, 0) == 0
