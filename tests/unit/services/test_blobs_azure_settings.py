"""Where the blobs lie: an address means the identity, a connection string its key; all else is told with its remedy."""

from __future__ import annotations

import pytest

from imagedelta.errors import RequestError
from services.blobs.azure_settings import StorageSettings, read_storage
from services.setting_values import Values

KEY = "c2VjcmV0a2V5cw=="


def read(text: str) -> StorageSettings | None:
    values = Values({"IMAGEDELTA_STORAGE": text})
    found = read_storage(values)
    values.refuse()
    return found


@pytest.mark.parametrize(
    ("text", "url", "account", "key"),
    [
        ("https://fleet.blob.core.windows.net", "https://fleet.blob.core.windows.net", "fleet", None),
        ("https://fleet.z6.blob.storage.azure.net/", "https://fleet.z6.blob.storage.azure.net", "fleet", None),
        (
            "https://127.0.0.1:10000/devstoreaccount1/",
            "https://127.0.0.1:10000/devstoreaccount1",
            "devstoreaccount1",
            None,
        ),
        (f"AccountName=fleet;AccountKey={KEY}", "https://fleet.blob.core.windows.net", "fleet", KEY),
        (
            f"DefaultEndpointsProtocol=http;AccountName=fleet;AccountKey={KEY};EndpointSuffix=core.example;",
            "http://fleet.blob.core.example",
            "fleet",
            KEY,
        ),
        (
            f"accountname=fleet ; ACCOUNTKEY={KEY}; BlobEndpoint=http://127.0.0.1:1/fleet/",
            "http://127.0.0.1:1/fleet",
            "fleet",
            KEY,
        ),
    ],
)
def test_an_address_means_the_identity_and_a_connection_string_its_key(
    text: str, url: str, account: str, key: str | None
) -> None:
    assert read(text) == StorageSettings(url, account, key)


def test_the_emulator_of_this_machine_has_a_short_name() -> None:
    found = read("UseDevelopmentStorage=true")

    assert found is not None
    assert (found.url, found.account) == ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1")
    assert found.key


def test_no_account_is_no_setting() -> None:
    assert read("") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://fleet.blob.core.windows.net", "https only"),
        ("https://fleet.blob.core.windows.net?sv=1&sig=abc", "holds a query"),
        ("https://", "no address"),
        ("fleet", "no AccountName"),
        ("AccountName=fleet", "no AccountKey"),
        (f"AccountName=fleet;AccountKey={KEY};BlobEndpoint=ftp://x/y", "no address"),
        ("BlobEndpoint=https://fleet.blob.core.windows.net;SharedAccessSignature=sv=1", "no AccountKey"),
        ("AccountName=fleet;AccountKey=not base64", "not base64"),
    ],
)
def test_what_is_wrong_is_told_by_the_name_of_the_variable(text: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as raised:
        read(text)

    assert str(raised.value).startswith("IMAGEDELTA_STORAGE")


def test_a_key_is_never_shown() -> None:
    assert KEY not in repr(read(f"AccountName=fleet;AccountKey={KEY}"))
    with pytest.raises(RequestError) as raised:
        read(f"AccountName=;AccountKey={KEY}")
    assert KEY not in str(raised.value)
