"""Blobs in an Azure Storage account, or in Azurite: the adapter of production.

Reads are ranged requests of one client for all threads; a blob is visible whole or not at all, and one that is there
is never replaced by ``put_if_absent`` and ``compose_if_absent``, whoever else writes it at the same time.

    blobs_azure_account   the REST operations, by the SDK; bounded, asked again, errors of ours
    blobs_azure_upload    blobs of staged blocks; composed ones never pass through here
    blobs_azure_reader    a blob as a file
    blobs_azure_grants    SAS: by user delegation, or by the account's key on a stored access policy

Source: docs/adr/0026.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import BinaryIO
from urllib.parse import quote

from imagedelta.errors import Truncated
from services.blobs.azure_account import Account
from services.blobs.azure_errors import BlobMissing
from services.blobs.azure_grants import DelegatedGrants, Grants, KeyGrants
from services.blobs.azure_reader import open_blob
from services.blobs.azure_upload import Uploads
from services.blobs.names import check_container, check_name
from services.clock import utc_now
from services.ports import BlobInfo, BlobRange, Clock, Grant

_SOURCE_LIFETIME = timedelta(hours=1)
"""Of what lets the storage itself read a part: longer than any composing."""


class AzureBlobs:
    """The port ``Blobs``. Many threads and processes may use it."""

    def __init__(self, account: Account, now: Clock = utc_now) -> None:
        self._account = account
        self._grants: Grants = KeyGrants(account, now) if account.key else DelegatedGrants(account, now)
        self._uploads = Uploads(account, self._source)

    def put(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        check_name(container, name)
        return self._uploads.put(container, name, chunks, only_new=False)

    def put_if_absent(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        check_name(container, name)
        return self._uploads.put(container, name, chunks, only_new=True)

    def compose_if_absent(self, container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        check_name(container, name)
        return self._uploads.compose(container, name, parts)

    def open(self, container: str, name: str) -> BinaryIO:
        return open_blob(self._account, container, self._there(container, name))

    def read(self, container: str, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Nothing from where it has ended."""
        check_name(container, name)
        if length == 0:
            self._there(container, name)
            return b""
        try:
            return self._account.get(container, name, offset, length)
        except Truncated:
            return b""

    def read_at(self, container: str, name: str, offset: int, length: int) -> bytes:
        data = self.read(container, name, offset, length)
        if len(data) < length:
            raise Truncated(f"{container}/{name} ends {length - len(data)} bytes early")
        return data

    def info(self, container: str, name: str) -> BlobInfo | None:
        check_name(container, name)
        return self._account.info(container, name)

    def list(self, container: str, prefix: str = "") -> Iterable[BlobInfo]:
        check_container(container)
        return self._account.list(container, prefix)

    def delete(self, container: str, name: str) -> None:
        check_name(container, name)
        self._account.delete(container, name)

    def delete_container(self, container: str) -> None:
        check_container(container)
        self._account.delete_container(container)

    def container_url(self, container: str) -> str:
        check_container(container)
        return f"{self._account.url}/{container}"

    def read_grant(self, container: str, lifetime: timedelta) -> Grant:
        check_container(container)
        return self._grants.read(container, lifetime)

    def blob_grant(self, container: str, name: str, lifetime: timedelta) -> Grant:
        check_name(container, name)
        return self._grants.blob(container, name, lifetime)

    def write_url(self, container: str, name: str, lifetime: timedelta) -> str:
        check_name(container, name)
        return f"{self._url(container, name)}?{self._grants.write(container, name, lifetime).query}"

    def _there(self, container: str, name: str) -> BlobInfo:
        if (info := self.info(container, name)) is None:
            raise BlobMissing(f"there is no blob {container}/{name}")
        return info

    def _source(self, part: BlobRange) -> str:
        """A grant as devices get it. The identity's token in x-ms-copy-source-authorization would do as well in Azure,
        but not for a key, nor in Azurite 3.37, which reads the source by its URL alone."""
        query = self._grants.blob(part.container, part.name, _SOURCE_LIFETIME).query
        return f"{self._url(part.container, part.name)}?{query}"

    def _url(self, container: str, name: str) -> str:
        return f"{self.container_url(container)}/{quote(name)}"
