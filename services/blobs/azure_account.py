"""One storage account by its REST operations: the only file that knows the SDK (azure-storage-blob).

One client and one pool of connections for all threads. Every call ends: connecting, each wait for bytes and the whole
of a body have their times; what is brief is asked again here, what is not is told with its Retry-After.
Not here: what a blob is made of (services.blobs.azure_upload), who gets what access (services.blobs.azure_grants).

Source: learn.microsoft.com/rest/api/storageservices; azure-storage-blob 12.31.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

import requests
from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import (
    AccessPolicy,
    BlobBlock,
    BlobClient,
    BlobServiceClient,
    UserDelegationKey,
    generate_blob_sas,
    generate_container_sas,
)
from requests.adapters import HTTPAdapter

from imagedelta.errors import ImageDeltaError
from services.blobs.azure_errors import BlobMissing, BlobThere, Busy, ContainerBusy, ContainerMissing, vendor_errors
from services.blobs.azure_settings import StorageSettings
from services.ports import BlobInfo

_Answer = TypeVar("_Answer")

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""How long an answer may keep us waiting at a stretch."""
BODY_SECONDS = 300.0
"""Of one answer's body: 32 MiB at 100 KiB a second."""
TRY_AGAIN_SECONDS = 15.0
"""So long after the first try there may be another one."""
_PAUSES = (0.0, 0.5, 2.0)
"""Before each further try. The first is at once: a connection that was kept may have been closed by the other end."""
_CONNECTIONS = 64
"""Threads that ask at the same time without waiting for each other: all that a build and a host have."""
_ONE_GET = 32 << 20
_PAGE = 5000
_PIECE = 256 << 10
"""Of a body that is read at a time; 4 KiB, as a transport has it unless told, take three times as much of the CPU."""
_CLIENTS = 256
_LOG_OF_REQUESTS = "azure.core.pipeline.policies.http_logging_policy"


class Account:
    """Every method raises ImageDeltaError only."""

    def __init__(
        self,
        settings: StorageSettings,
        credential: TokenCredential | None = None,
        *,
        transport: BoundedTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Args:
        credential: Of the app's identity; only for an account without a key.
        transport: Ours unless given.
        """
        logging.getLogger(_LOG_OF_REQUESTS).setLevel(logging.WARNING)  # else two records for each range that is read
        self.url = settings.url
        self.name = settings.account
        self.key = settings.key
        self._sleep = sleep
        self._transport = transport or BoundedTransport()
        self._service = BlobServiceClient(
            settings.url,
            credential={"account_name": self.name, "account_key": self.key} if self.key else credential,
            transport=self._transport,
            retry_total=0,
            max_single_get_size=_ONE_GET,
            max_chunk_get_size=_ONE_GET,
        )
        self._blob: Callable[[str, str], BlobClient] = lru_cache(_CLIENTS)(self._service.get_blob_client)

    # Blobs.

    def put_blob(self, container: str, name: str, data: bytes, *, only_new: bool) -> BlobInfo:
        """Whole, by one request.

        Raises: BlobThere with ``only_new``; ContainerMissing.
        """

        def put() -> Mapping[str, Any]:
            return self._blob(container, name).upload_blob(data, length=len(data), overwrite=not only_new)

        return _info(name, len(data), self._ask(f"{container}/{name}", put))

    def stage(self, container: str, name: str, block_id: str, data: bytes) -> None:
        """Raises: ContainerMissing; BlocksGone for an id of another length than those that are staged."""
        self._ask(f"{container}/{name}", lambda: self._blob(container, name).stage_block(block_id, data, len(data)))

    def stage_from(self, container: str, name: str, block_id: str, source: str, offset: int, length: int) -> None:
        """Have the storage read a range of another blob; one that ends early may give a shorter block.

        Args:
            source: URL with what lets in.
        """

        def stage() -> Mapping[str, Any]:
            blob = self._blob(container, name)
            return blob.stage_block_from_url(block_id, source, source_offset=offset, source_length=length)

        self._ask(f"{container}/{name}", stage)

    def staged(self, container: str, name: str) -> Mapping[str, int]:
        """Block id -> size of what is staged and no part of a blob yet; nothing for a blob that is not there.

        Raises: ContainerMissing.
        """

        def ask() -> tuple[Sequence[BlobBlock], Sequence[BlobBlock]]:
            return self._blob(container, name).get_block_list("uncommitted")

        try:
            _, blocks = self._ask(f"{container}/{name}", ask)
        except ContainerMissing:
            raise
        except BlobMissing:
            return {}
        return {str(block.id): int(block.size) for block in blocks}

    def commit(self, container: str, name: str, blocks: Mapping[str, int], *, only_new: bool) -> BlobInfo:
        """Make the blob of staged blocks, in order.

        Raises: BlobThere with ``only_new``; BlocksGone.
        """
        condition = MatchConditions.IfMissing if only_new else None
        listed = [BlobBlock(block_id) for block_id in blocks]

        def commit() -> Mapping[str, Any]:
            return self._blob(container, name).commit_block_list(listed, match_condition=condition)

        return _info(name, sum(blocks.values()), self._ask(f"{container}/{name}", commit))

    def get(self, container: str, name: str, offset: int, length: int | None, etag: str = "") -> bytes:
        """Bytes of it, fewer where it ends; to its end with None.

        Raises: BlobMissing; Truncated when it ends at or before ``offset``; ``blob.changed`` with another etag.
        """
        condition: dict[str, Any] = (
            {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified} if etag else {}
        )

        def get() -> bytes:
            return bytes(self._blob(container, name).download_blob(offset, length, **condition).readall())

        return self._ask(f"{container}/{name}", get)

    def info(self, container: str, name: str) -> BlobInfo | None:
        try:
            found = self._ask(f"{container}/{name}", lambda: self._blob(container, name).get_blob_properties())
        except (BlobMissing, ContainerBusy):
            return None
        return _listed(found, name)

    def delete(self, container: str, name: str) -> None:
        with suppress(BlobMissing, ContainerBusy):
            self._ask(f"{container}/{name}", lambda: self._blob(container, name).delete_blob("include"))

    # Containers.

    def list(self, container: str, prefix: str) -> Iterator[BlobInfo]:
        """In the order of names; nothing for a container that is not there."""
        blobs = self._service.get_container_client(container).list_blobs(
            name_starts_with=prefix or None, results_per_page=_PAGE
        )
        marker: str | None = None
        while True:
            try:
                page, marker = self._ask(container, lambda at=marker: _page(blobs, at))  # type: ignore[misc]
            except (BlobMissing, ContainerBusy):
                return
            yield from page
            if not marker:
                return

    def make_container(self, container: str) -> None:
        """Raises: ContainerBusy while an older one is being deleted."""
        with suppress(BlobThere):
            self._ask(container, lambda: self._service.create_container(container))

    def delete_container(self, container: str) -> None:
        with suppress(BlobMissing, ContainerBusy):
            self._ask(container, lambda: self._service.delete_container(container))

    def policies(self, container: str) -> Sequence[str]:
        """Ids of its stored access policies.

        Raises: ContainerMissing.
        """
        access = self._ask(container, self._service.get_container_client(container).get_container_access_policy)
        return [str(identifier.id) for identifier in access["signed_identifiers"] or ()]

    def set_policy(self, container: str, policy: str, permissions: str) -> None:
        """The one stored access policy of it. It takes up to half a minute to be seen everywhere."""
        client = self._service.get_container_client(container)
        policies = {policy: AccessPolicy(permission=permissions)}
        self._ask(container, lambda: client.set_container_access_policy(policies))

    # What lets others in.

    def delegation_key(self, start: datetime, end: datetime) -> UserDelegationKey:
        return self._ask("user delegation key", lambda: self._service.get_user_delegation_key(start, end))

    def sas(self, container: str, name: str | None, **what: Any) -> str:
        """A SAS query for a container, or for one blob of it. Asks nobody.

        Args:
            what: As the SDK's functions take it: permission, start, expiry, user_delegation_key, policy_id.
        """
        common: dict[str, Any] = {"protocol": "https" if self.url.startswith("https://") else None, **what}
        if "user_delegation_key" not in what:
            common["account_key"] = self.key
        with vendor_errors(container):
            if name is None:
                return generate_container_sas(self.name, container, **common)
            return generate_blob_sas(self.name, container, name, **common)

    def _ask(self, what: str, call: Callable[[], _Answer]) -> _Answer:
        """Ask, and once more after each of the pauses while there is time: every operation here may be done twice."""
        began = time.monotonic()
        for pause in _PAUSES:
            try:
                return self._once(what, call)
            except Busy as busy:
                asked = busy.retry_after or timedelta()
                wait = max(pause, asked.total_seconds())
                if time.monotonic() - began + wait > TRY_AGAIN_SECONDS:
                    raise
                self._sleep(wait)
        return self._once(what, call)

    def _once(self, what: str, call: Callable[[], _Answer]) -> _Answer:
        try:
            with vendor_errors(what):
                return call()
        except ImageDeltaError:
            self._transport.drop_answer()
            raise


class BoundedTransport(RequestsTransport):  # type: ignore[misc]
    """As the SDK's own, with as many connections as threads, and bodies that end."""

    def __init__(self) -> None:
        session = requests.Session()
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        super().__init__(
            session=session,
            connection_timeout=CONNECT_SECONDS,
            read_timeout=SILENCE_SECONDS,
            connection_data_block_size=_PIECE,
        )
        self._last = threading.local()

    def send(self, request: Any, **options: Any) -> Any:
        response = super().send(request, **options)
        self._last.answer = answer = response.internal_response
        if answer.raw is not None:
            answer.raw = _BoundedBody(answer.raw)
        return response

    def drop_answer(self) -> None:
        """Close this thread's last answer: the SDK leaves one open that it cannot make sense of."""
        if (answer := getattr(self._last, "answer", None)) is not None:
            answer.close()


class _BoundedBody:
    """The raw body of an answer, which is given its time as a whole: the SDK bounds each read only, and asks for one
    that broke off three times by itself, with pauses of its own. So what goes wrong here is no error of its kind."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._until = time.monotonic() + BODY_SECONDS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
        """What has arrived, at once: a piece that were waited for to be whole would hide how long that takes."""
        while piece := self._read(amount, decode_content):
            yield piece

    def _read(self, amount: int, decode_content: bool | None) -> bytes:
        if time.monotonic() > self._until:
            self._raw.close()
            raise Busy(f"the body of an answer took more than {BODY_SECONDS:.0f} s")
        try:
            piece: bytes = self._raw.read1(amount, decode_content=decode_content)
        except Exception as error:
            raise Busy(f"the body of an answer broke off: {type(error).__name__} {error}") from error
        return piece


def _page(blobs: Any, marker: str | None) -> tuple[list[BlobInfo], str]:
    pages = blobs.by_page(marker)
    page = [_listed(found, found.name) for found in next(pages, ())]
    return page, pages.continuation_token or ""


def _info(name: str, size: int, headers: Mapping[str, Any]) -> BlobInfo:
    return BlobInfo(name, size, str(headers["etag"]).strip('"'), headers["last_modified"])


def _listed(found: Any, name: str) -> BlobInfo:
    return BlobInfo(name, int(found.size), str(found.etag).strip('"'), found.last_modified)
