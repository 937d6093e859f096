"""Azure Storage, as Azurite serves it, does what every blob storage does: by a key, and by an identity alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.blobs.azure import AzureBlobs
from tests.blobs.suite import BlobsSuite
from tests.e2e.cloud.blob_accounts import blobs_of, small_blocks, trust
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority

pytestmark = pytest.mark.e2e


class TestByKey(BlobsSuite):
    @pytest.fixture
    def blobs(
        self, azurite: Azurite, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AzureBlobs:
        trust(monkeypatch, authority, tmp_path)
        small_blocks(monkeypatch)
        return blobs_of(azurite, by_key=True)


class TestByIdentity(BlobsSuite):
    @pytest.fixture
    def blobs(
        self, azurite: Azurite, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AzureBlobs:
        trust(monkeypatch, authority, tmp_path)
        small_blocks(monkeypatch)
        return blobs_of(azurite, by_key=False)
