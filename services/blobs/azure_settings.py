"""Which storage account holds the blobs: ``IMAGEDELTA_STORAGE``.

The address of the account alone means: as the app's identity, and what devices are given is signed by a user
delegation. So it works in an account that allows no shared keys. A connection string means: by its key, and devices
are given service SAS on a stored access policy. Source: docs/adr/0026.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.setting_values import Values

_NAME = "IMAGEDELTA_STORAGE"
_FORMS = "give https://<account>.blob.core.windows.net, or a connection string with AccountName and AccountKey"
_DEVELOPMENT = {
    "blobendpoint": "http://127.0.0.1:10000/devstoreaccount1",
    "accountname": "devstoreaccount1",
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}
"""Of Azurite on this machine; its key is the same everywhere and no secret.
Source: learn.microsoft.com, "Connect to Azurite", connection strings."""


@dataclass(frozen=True)
class StorageSettings:
    url: str
    """Of the account's blob service, without a slash at the end; devices reach it by this, too."""
    account: str
    key: str | None = field(repr=False)
    """base64; None where the app is let in by its identity."""

    @property
    def is_emulator(self) -> bool:
        """Azurite, and so a host on somebody's own machine."""
        return self.account == _DEVELOPMENT["accountname"]


def read_storage(read: Values) -> StorageSettings | None:
    """None when blobs lie in a folder."""
    text = read.text(_NAME).strip()
    if not text:
        return None
    try:
        return _of_address(text) if text.startswith(("https://", "http://")) else _of_connection(text)
    except ValueError as error:
        read.wrong(_NAME, str(error))
        return None


def _of_address(text: str) -> StorageSettings:
    if not text.startswith("https://"):
        raise ValueError("starts with http://: tokens of an identity go over https only")
    if urlsplit(text).query:
        raise ValueError(f"holds a query; what lets devices in is made by the app: {_FORMS}")
    return StorageSettings(*_url_and_account(text), key=None)


def _of_connection(text: str) -> StorageSettings:
    fields = _fields(text)
    if fields.get("usedevelopmentstorage", "").lower() == "true":
        fields = _DEVELOPMENT
    if not fields.get("accountname") or not fields.get("accountkey"):
        raise ValueError(f"holds no AccountName or no AccountKey: {_FORMS}")
    try:
        base64.b64decode(fields["accountkey"], validate=True)
    except ValueError:
        raise ValueError("holds an AccountKey that is not base64: copy it again") from None
    url, _ = _url_and_account(fields.get("blobendpoint") or _default_endpoint(fields))
    return StorageSettings(url, fields["accountname"], fields["accountkey"])


def _fields(text: str) -> Mapping[str, str]:
    """A key ends with ``=``, so only the first one of each part divides."""
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _default_endpoint(fields: Mapping[str, str]) -> str:
    protocol, suffix = fields.get("defaultendpointsprotocol", "https"), fields.get("endpointsuffix", "core.windows.net")
    return f"{protocol}://{fields['accountname']}.blob.{suffix}"


def _url_and_account(text: str) -> tuple[str, str]:
    """An emulator and a private address have the account as the first part of the path, Azure as that of the host."""
    parts = urlsplit(text)
    account = parts.path.strip("/") or (parts.hostname or "").partition(".")[0]
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not account.isalnum():
        raise ValueError(f"holds no address of a storage account: {_FORMS}")
    return text.rstrip("/"), account
