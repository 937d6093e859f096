from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pytest

from activities.layer_upload import store_layer
from imagedelta.archives import sha256_id
from imagedelta.errors import ContentError, DependencyError
from imagedelta.signatures import index_layer
from services.ports import BlobInfo
from tests.images import a_layer
from tests.simulators.clock import ClockSimulator
from tests.unit.activities.bench import WatchedBlobs, noise

LAYER = a_layer({f"lib/{n}.so": noise(n, 1_500_000) for n in range(6)})
DIFF_ID = sha256_id(LAYER)
NAME = DIFF_ID.removeprefix("sha256:")


class Breaking(io.BytesIO):
    """A layer that cannot be read beyond half of it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(LAYER)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > len(LAYER) // 2:
            raise self._error
        return super().read(size)


@pytest.fixture
def blobs(tmp_path: Path) -> WatchedBlobs:
    return WatchedBlobs(tmp_path / "blobs", ClockSimulator())


def test_a_layer_is_stored_as_it_is_and_indexed_in_one_reading(blobs: WatchedBlobs) -> None:
    index = store_layer(blobs, io.BytesIO(LAYER), DIFF_ID)

    assert index == index_layer(io.BytesIO(LAYER))
    assert blobs.read("layers", NAME) == LAYER


@pytest.mark.parametrize("error", [ContentError("damaged"), DependencyError("away"), ValueError("a defect")])
def test_a_layer_that_cannot_be_read_to_its_end_never_becomes_visible(blobs: WatchedBlobs, error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        store_layer(blobs, Breaking(error), DIFF_ID)

    assert caught.value is error
    assert blobs.names("layers") == []


def test_a_storage_that_fails_on_the_way_stops_the_reading(
    blobs: WatchedBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        for _ in chunks:
            raise DependencyError("the disk is full")
        raise AssertionError("nothing was given")

    monkeypatch.setattr(blobs, "put_if_absent", full)
    layer = io.BytesIO(LAYER)

    with pytest.raises(DependencyError, match="the disk is full"):
        store_layer(blobs, layer, DIFF_ID)

    assert layer.tell() < len(LAYER)


def test_a_layer_that_is_stored_already_stays_and_is_indexed(blobs: WatchedBlobs) -> None:
    store_layer(blobs, io.BytesIO(LAYER), DIFF_ID)
    before = blobs.info("layers", NAME)

    index = store_layer(blobs, io.BytesIO(LAYER), DIFF_ID)

    assert (index.diff_id, blobs.info("layers", NAME)) == (DIFF_ID, before)


def test_an_empty_layer_is_a_layer(blobs: WatchedBlobs) -> None:
    empty = a_layer({})

    index = store_layer(blobs, io.BytesIO(empty), sha256_id(empty))

    assert (index.size, blobs.read("layers", sha256_id(empty)[7:])) == (len(empty), empty)
