"""A folder, and the simulator that steps are tested with, do what every blob storage does."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from services.blobs.folder import FolderBlobs
from services.clock import utc_now
from tests.blobs.suite import BlobsSuite
from tests.simulators.blobs import BlobsSimulator


class TestFolder(BlobsSuite):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> FolderBlobs:
        key = base64.b64encode(b"k" * 32).decode()
        return FolderBlobs(tmp_path / "blobs", url="http://host/blobs", key=key)


class TestSimulator(BlobsSuite):
    HELD = 12  # all: it is no storage

    @pytest.fixture
    def blobs(self) -> BlobsSimulator:
        return BlobsSimulator(utc_now)
