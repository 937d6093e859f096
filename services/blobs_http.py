"""Read-only client of one blob container with a SAS: List Blobs and ranged GET of the Azure Blob REST API.

Azure Storage, Azurite and the embedded host answer it alike. No SDK: a device needs two calls, a resumable
stream and few dependencies. Not here: what is fetched when, and whether it is believed
(edge_module.downloader).

Source: learn.microsoft.com/rest/api/storageservices: list-blobs, get-blob, versioning of 2021-12-02.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote
from xml.parsers import expat

import httpx

from imagedelta.errors import ContentError, DependencyError, LimitExceeded
from services.ports import BlobInfo

API_VERSION = "2021-12-02"
MAX_LIST_BYTES = 16 * 1024 * 1024
"""One page of a list: at most 5,000 blobs, about 1 KiB each."""
MAX_LISTED = 20_000
_PIECE_BYTES = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class BlobChanged(ContentError):
    """The blob is not the one that was asked for any more: what was fetched of it is worthless."""

    code = "blob.changed"


class BlobContainer:
    """One container. Raises only ImageDeltaError: DependencyError where trying again can help."""

    def __init__(self, client: httpx.Client, url: str, query: str) -> None:
        """Args:
        client: Its timeouts decide when a silent link counts as broken.
        url: Of the container, without a query.
        query: The SAS, without "?"; "" for a container that needs none.
        """
        self._client = client
        self._url = url.rstrip("/")
        self._query = query.lstrip("?")

    def list(self, prefix: str = "") -> list[BlobInfo]:
        """Every committed blob, in the order of names.

        Raises:
            LimitExceeded: A page over 16 MiB, or over 20,000 blobs.
            ContentError: The answer is no blob list.
        """
        found: list[BlobInfo] = []
        marker = ""
        while True:
            page, marker = parse_list(self._list_page(prefix, marker))
            found += page
            if len(found) > MAX_LISTED:
                raise LimitExceeded(f"{self._url} lists more than {MAX_LISTED} blobs")
            if not marker:
                return sorted(found, key=lambda blob: blob.name)

    def read_small(self, name: str, limit: int) -> bytes:
        """The whole of a small blob.

        Raises: LimitExceeded when it is larger than ``limit`` bytes; ContentError ``content.missing``.
        """
        with self._request("GET", self._address(name)) as response:
            _check_status(response, name)
            return _read_bounded(response, limit, name)

    def info(self, name: str) -> BlobInfo:
        """Raises: ContentError ``content.missing`` when there is no such blob."""
        with self._request("HEAD", self._address(name)) as response:
            _check_status(response, name)
            headers = response.headers
            size = _number(headers.get("content-length", ""), name)
            return BlobInfo(name, size, _bare(headers.get("etag", "")), _moment(headers.get("last-modified")))

    def stream(self, blob: BlobInfo, offset: int, end: int) -> Iterator[bytes]:
        """Bytes ``[offset, end)`` of exactly this version of the blob, in pieces of at most 64 KiB.

        Closing the iterator ends the request. Without an ETag any version of its size is taken.

        Raises (also while iterating):
            BlobChanged: The blob was replaced (412) or shortened (416), or the server answers other bytes.
            DependencyError: The link broke; what was yielded before is good to keep.
        """
        headers = {"range": f"bytes={offset}-{end - 1}"}
        if blob.etag:
            headers["if-match"] = f'"{blob.etag}"'
        with self._request("GET", self._address(blob.name), headers) as response:
            _check_status(response, blob.name)
            _check_range(response, blob, offset)
            left = end - offset
            for piece in _pieces(response, blob.name):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return
        raise DependencyError(f"{blob.name}: the answer ended {left} bytes early")

    def _list_page(self, prefix: str, marker: str) -> bytes:
        query = "restype=container&comp=list&maxresults=5000"
        query += f"&prefix={quote(prefix, safe='')}" if prefix else ""
        query += f"&marker={quote(marker, safe='')}" if marker else ""
        with self._request("GET", self._with_sas(f"{self._url}?{query}")) as response:
            _check_status(response, "list of blobs")
            return _read_bounded(response, MAX_LIST_BYTES, "list of blobs")

    def _address(self, name: str) -> str:
        return self._with_sas(f"{self._url}/{quote(name)}")

    def _with_sas(self, url: str) -> str:
        if not self._query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{self._query}"

    @contextmanager
    def _request(self, method: str, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        common = {"x-ms-version": API_VERSION, "accept-encoding": "identity"}
        try:
            with self._client.stream(method, url, headers=common | (headers or {})) as response:
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unanswered(self._url, error) from error


def parse_list(document: bytes) -> tuple[list[BlobInfo], str]:
    """Read one page of List Blobs; document types and entities are refused.

    Returns:
        The blobs, and the marker of the next page ("" at the end).

    Raises:
        ContentError: Not the XML of a blob list.
    """
    reader = _ListReader()
    try:
        reader.parser.Parse(document, True)
    except (expat.ExpatError, ValueError) as error:
        raise ContentError(f"list of blobs: {error}") from error
    if not reader.is_list:
        raise ContentError("list of blobs: no EnumerationResults")
    return reader.blobs, reader.marker


class _ListReader:
    """Collects /EnumerationResults/Blobs/Blob/{Name,Properties/*} and NextMarker from expat's events."""

    def __init__(self) -> None:
        self.blobs: list[BlobInfo] = []
        self.marker = ""
        self.is_list = False
        self._path: list[str] = []
        self._blob: dict[str, str] = {}
        self._text: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append
        self.parser.StartDoctypeDeclHandler = _refuse_doctype

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._path.append(name)
        self._text.clear()
        self.is_list = self.is_list or self._path == ["EnumerationResults"]
        if len(self._path) > 16:
            raise ValueError("nested more than 16 deep")

    def _end(self, name: str) -> None:
        text = "".join(self._text)
        if self._path[1:] == ["NextMarker"]:
            self.marker = text
        elif self._path[1:3] == ["Blobs", "Blob"]:
            if len(self._path) == 3:
                self._finish_blob()
            else:
                self._blob[name] = text
        self._path.pop()
        self._text.clear()

    def _finish_blob(self) -> None:
        values, self._blob = self._blob, {}
        size = int(values.get("Content-Length", ""))
        if size < 0 or not values.get("Name"):
            raise ValueError("a blob without name or size")
        etag, modified = _bare(values.get("Etag", "")), _moment(values.get("Last-Modified"))
        self.blobs.append(BlobInfo(values["Name"], size, etag, modified))


def _refuse_doctype(*_: object) -> None:
    raise ValueError("holds a document type")


def _check_status(response: httpx.Response, name: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 404:
        raise ContentError(f"{name} is not in the container", code="content.missing")
    if status in (412, 416):
        raise BlobChanged(f"{name} was replaced while it was fetched (status {status})")
    if status in (401, 403):
        raise DependencyError(f"{name}: access refused (status {status})", code="outbox.denied")
    raise DependencyError(f"{name}: the store answered status {status}")


def _check_range(response: httpx.Response, blob: BlobInfo, offset: int) -> None:
    """A server that ignores Range answers 200 from byte 0: usable only when that was asked for."""
    if response.status_code == 200:
        start, total = 0, _number(response.headers.get("content-length", str(blob.size)), blob.name)
    else:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None:
            raise DependencyError(f"{blob.name}: status 206 without a Content-Range")
        start, total = int(match[1]), int(match[3])
    if start != offset:
        raise DependencyError(f"{blob.name}: asked for byte {offset}, answered from byte {start}")
    if total != blob.size:
        raise BlobChanged(f"{blob.name} has {total} bytes, listed with {blob.size}")


def _pieces(response: httpx.Response, name: str) -> Iterator[bytes]:
    """Whatever arrives is passed on at once: bytes held back in a buffer would be lost with the link."""
    try:
        for piece in response.iter_raw():
            for start in range(0, len(piece), _PIECE_BYTES):
                yield piece[start : start + _PIECE_BYTES]
    except httpx.HTTPError as error:
        raise _unanswered(name, error) from error


def _read_bounded(response: httpx.Response, limit: int, what: str) -> bytes:
    data = bytearray()
    for piece in _pieces(response, what):
        data += piece
        if len(data) > limit:
            raise LimitExceeded(f"{what} is larger than {limit} bytes")
    return bytes(data)


def _unanswered(what: str, error: Exception) -> DependencyError:
    return DependencyError(f"{what}: {type(error).__name__} {error}".rstrip())


def _number(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 19:
        raise DependencyError(f"{name}: the store answered a length of {text[:40]!r}")
    return int(text)


def _bare(etag: str) -> str:
    """Headers quote an ETag, lists do not."""
    return etag.removeprefix("W/").strip('"')


def _moment(text: str | None) -> datetime:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
