"""Read-only client of one blob container with a SAS: List Blobs and ranged GET of the Azure Blob REST API.

Azure Storage, Azurite and the embedded host answer it alike. No SDK: a device needs two calls, a resumable
stream and few dependencies. Not here: what is fetched when, and whether it is believed (edge_module.downloader),
how long an answer may take (services.http_bounded).

What answers may be a captive portal, a proxy that repacks, or a broken store: so an odd answer proves nothing about a
blob, and every error here means "ask again later". Bytes are proved by their sealed digests only.

Source: learn.microsoft.com/rest/api/storageservices: list-blobs, get-blob, versioning of 2021-12-02.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote
from xml.parsers import expat

import httpx

from imagedelta.errors import ContentError, DependencyError
from services.http_bounded import read_bounded
from services.ports import BlobInfo

API_VERSION = "2021-12-02"
MAX_LIST_BYTES = 2 * 1024 * 1024
"""One page of a list: at most 1,000 blobs, about 1 KiB each."""
MAX_LIST_SECONDS = 1800.0
"""For all pages: new bundles and a new access wait behind it."""
MAX_PAGES = 20
"""A device's outbox holds two blobs for each bundle that it has not fetched yet."""
MAX_NAME = 1024
"""As Azure's."""
MAX_ETAG = 200
_PIECE_BYTES = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


class BlobChanged(DependencyError):
    """The blob is not the one that was listed, or says so: it is listed again before more of it is asked for."""

    code = "blob.changed"


class RangeIgnored(DependencyError):
    """The whole blob was answered where a part was asked for: what is here of it would be paid for again."""

    code = "link.range_ignored"


class BlobContainer:
    """One container. Raises only DependencyError."""

    def __init__(self, client: httpx.Client, url: str, query: str) -> None:
        """Args:
        client: Of services.http_bounded, so that every answer ends.
        url: Of the container, without a query.
        query: The SAS, without "?"; "" for a container that needs none.
        """
        self._client = client
        self._url = url.rstrip("/")
        self._query = query.lstrip("?")

    def list(self) -> list[BlobInfo]:
        """Every committed blob, in the order of names; a container that is not there (any more) has none.

        Raises: DependencyError ``link.odd_answer`` when the answer is no blob list, or more than 20 pages of 2 MiB;
            ``link.silent`` when it takes longer than half an hour.
        """
        found: list[BlobInfo] = []
        marker, deadline = "", time.monotonic() + MAX_LIST_SECONDS
        for _ in range(MAX_PAGES):
            document = self._list_page(marker, deadline)
            if document is None:
                return []
            page, marker = _parsed(document)
            found += page
            if not marker:
                return sorted(found, key=lambda blob: blob.name)
        raise _odd(f"{self._url} lists more than {MAX_PAGES} pages")

    def stream(self, blob: BlobInfo, offset: int, end: int, *, skip: bool = False) -> Iterator[bytes]:
        """Bytes ``[offset, end)`` of exactly this version of the blob, in pieces of at most 64 KiB.

        Closing the iterator ends the request. Without an ETag any version of its size is taken.

        Args:
            skip: From a server that ignores Range, take the whole blob and leave out what is before ``offset``.

        Raises (also while iterating):
            BlobChanged: It was replaced (412), shortened (416), or has another size than listed.
            RangeIgnored: The server ignores Range; nothing more was read than had arrived by then.
            DependencyError: Anything else; what was yielded before is good to keep.
        """
        headers = {"range": f"bytes={offset}-{end - 1}"}
        if blob.etag:
            headers["if-match"] = f'"{blob.etag}"'
        with self._request("GET", self._address(blob.name), headers) as response:
            _check_answer(response, blob.name)
            ahead = _bytes_ahead(response, blob, offset)
            if ahead and not skip:
                raise RangeIgnored(f"{blob.name}: asked for byte {offset}, answered from the first: Range is ignored")
            left = end - offset
            exact = response.headers.get("content-length") == str(left)
            pieces = _pieces(response, blob.name)
            for piece in pieces:
                wanted = piece[ahead : ahead + left]
                ahead = max(0, ahead - len(piece))
                left -= len(wanted)
                if left <= 0 and exact:  # heard to its end, the connection serves the next request
                    _hear_out(pieces)
                if wanted:
                    yield wanted
                if left <= 0:
                    return
        raise DependencyError(f"{blob.name}: the answer ended {left} bytes early")

    def _list_page(self, marker: str, deadline: float) -> bytes | None:
        query = "restype=container&comp=list&maxresults=1000"
        query += f"&marker={quote(marker, safe='')}" if marker else ""
        with self._request("GET", self._with_sas(f"{self._url}?{query}")) as response:
            if response.status_code == 404 and response.headers.get("x-ms-error-code") == "ContainerNotFound":
                return None
            _check_answer(response, "list of blobs")
            document = read_bounded(_until(deadline, _pieces(response, "list of blobs")), MAX_LIST_BYTES)
            if document is None:
                raise _odd(f"a page of the list of blobs is larger than {MAX_LIST_BYTES} bytes")
            return document

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
        if not 0 <= size < 2**63 or not 0 < len(values.get("Name", "")) <= MAX_NAME:
            raise ValueError("a blob without name or size")
        etag, modified = _bare(values.get("Etag", "")), _moment(values.get("Last-Modified"))
        if len(etag) > MAX_ETAG:
            raise ValueError("an ETag longer than any store's")
        self.blobs.append(BlobInfo(values["Name"], size, etag, modified))


def _refuse_doctype(*_: object) -> None:
    raise ValueError("holds a document type")


def _parsed(document: bytes) -> tuple[list[BlobInfo], str]:
    try:
        return parse_list(document)
    except ContentError as error:
        raise _odd(str(error)) from error


def _check_answer(response: httpx.Response, name: str) -> None:
    """Only what a store says: a portal's page, a redirect to it and repacked bytes are none of the blob."""
    status = response.status_code
    if status == 404:
        raise DependencyError(f"{name} is not in the container", code="blob.missing")
    if status in (412, 416):
        raise BlobChanged(f"{name} was replaced while it was fetched (status {status})")
    if status in (401, 403):
        raise DependencyError(f"{name}: access refused (status {status})", code="outbox.denied")
    if 300 <= status < 400:
        raise _odd(f"{name}: sent elsewhere (status {status})")
    if status not in (200, 206):
        raise DependencyError(f"{name}: the store answered status {status}")
    coding = response.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise _odd(f"{name}: something on the way repacks it ({coding[:40]})")
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        raise _odd(f"{name}: a web page came in its place")


def _bytes_ahead(response: httpx.Response, blob: BlobInfo, offset: int) -> int:
    """How many bytes come before the one that was asked for: more than none where Range is ignored."""
    headers = response.headers
    if response.status_code == 200:
        start, total, ahead = offset, _number(headers.get("content-length", str(blob.size)), blob.name), offset
    else:
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if match is None:
            raise _odd(f"{blob.name}: status 206 without a Content-Range")
        start, total, ahead = int(match[1]), int(match[3]), 0
    if start != offset:
        raise _odd(f"{blob.name}: asked for byte {offset}, answered from byte {start}")
    if total != blob.size:
        raise BlobChanged(f"{blob.name} has {total} bytes, listed with {blob.size}")
    return ahead


def _pieces(response: httpx.Response, name: str) -> Iterator[bytes]:
    """Whatever arrives is passed on at once: bytes held back in a buffer would be lost with the link."""
    try:
        for piece in response.iter_raw():
            for start in range(0, len(piece), _PIECE_BYTES):
                yield piece[start : start + _PIECE_BYTES]
    except httpx.HTTPError as error:
        raise _unanswered(name, error) from error


def _until(deadline: float, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if time.monotonic() > deadline:
            raise DependencyError(f"a list took more than {MAX_LIST_SECONDS:.0f} s", code="link.silent")
        yield piece


def _hear_out(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        return


def _unanswered(what: str, error: Exception) -> DependencyError:
    code = "link.silent" if isinstance(error, httpx.ReadTimeout) else None
    return DependencyError(f"{what}: {type(error).__name__} {error}".rstrip(), code=code)


def _odd(problem: str) -> DependencyError:
    return DependencyError(problem, code="link.odd_answer")


def _number(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 19:
        raise _odd(f"{name}: the store answered a length of {text[:40]!r}")
    return int(text)


def _bare(etag: str) -> str:
    """Headers quote an ETag, lists do not."""
    return etag.removeprefix("W/").strip('"')


def _moment(text: str | None) -> datetime:
    try:
        return parsedate_to_datetime(text or "").astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
