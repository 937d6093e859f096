"""The adapter of Azure Storage on Azurite, let in by the account's key or by the app's identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.blobs import azure_account, azure_reader, azure_upload
from services.blobs.azure import AzureBlobs
from services.blobs.azure_account import Account
from services.blobs.azure_settings import StorageSettings
from services.clock import utc_now
from services.ports import Clock
from tests.e2e.parts.azurite import ACCOUNT, KEY, Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.storage_identity import StorageIdentity

BLOCK = 64 * 1024


def account_of(azurite: Azurite, *, by_key: bool, url: str = "", **options: Any) -> Account:
    settings = StorageSettings(url or azurite.url, ACCOUNT, KEY if by_key else None)
    return Account(settings, None if by_key else StorageIdentity(), **options)


def blobs_of(azurite: Azurite, *, by_key: bool, now: Clock = utc_now, **options: Any) -> AzureBlobs:
    return AzureBlobs(account_of(azurite, by_key=by_key, **options), now)


def trust(monkeypatch: pytest.MonkeyPatch, authority: Authority, folder: Path) -> None:
    """As a process is told: the SDK's transport reads one variable, the device's client the other."""
    path = str(authority.write(folder))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", path)
    monkeypatch.setenv("SSL_CERT_FILE", path)


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small blobs have many blocks, ranges, windows and pages."""
    monkeypatch.setattr(azure_upload, "BLOCK_BYTES", BLOCK)
    monkeypatch.setattr(azure_upload, "RANGE_BYTES", BLOCK // 2)
    monkeypatch.setattr(azure_reader, "FIRST_BYTES", 4096)
    monkeypatch.setattr(azure_reader, "MOST_BYTES", BLOCK)
    monkeypatch.setattr(azure_account, "_PAGE", 4)
