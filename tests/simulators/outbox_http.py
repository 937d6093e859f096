"""An outbox container behind HTTP, in memory: List Blobs and ranged GET as Azure answers, over a link that can be cut.

A transport for httpx, so that the real client and everything behind it run in the test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote
from xml.sax.saxutils import escape

import httpx

URL = "http://outbox.test/outbox-ship-1"
PATCHES_URL = "http://outbox.test/patches"
QUERY = "sv=2021-12-02&sig=abc"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class _Blob:
    data: bytes
    etag: str


class OutboxSimulator(httpx.BaseTransport):
    def __init__(self, piece_bytes: int = 1024, page: int = 5000) -> None:
        self.blobs: dict[str, _Blob] = {}
        self.served: Counter[str] = Counter()
        """Bytes of each blob that went over the link."""
        self.ranges: list[tuple[str, int, int]] = []
        """Every ranged request: name, first byte, end."""
        self.cut_every: int | None = None
        """The link breaks each time it has carried so many bytes of blobs."""
        self.reachable = True
        self.status: int | None = None
        """Answered to everything."""
        self.opened_by: dict[str, str] = {}
        """Shared patch -> the query that opens it; any other is refused."""
        self.flip: set[tuple[str, int]] = set()
        """(name, offset): this byte arrives wrong, once."""
        self.odd: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
        """Answers in place of the store, unless it has nothing to say."""
        self.requests = 0
        """For blobs."""
        self.piece_bytes = piece_bytes
        self._page = page
        self._version = 0
        self._carried = 0

    def put(self, name: str, data: bytes) -> None:
        self._version += 1
        self.blobs[name] = _Blob(data, f"0x8D{self._version:012X}")

    def remove(self, name: str) -> None:
        self.blobs.pop(name, None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not self.reachable:
            raise httpx.ConnectError("no route", request=request)
        if self.status is not None:
            return httpx.Response(self.status)
        self.requests += request.url.params.get("comp") != "list"
        if (odd := self.odd(request)) is not None:
            return odd
        if request.url.params.get("comp") == "list":
            return self._list(request)
        name = unquote(request.url.path.rpartition("/")[2])
        if name in self.opened_by and request.url.query.decode() != self.opened_by[name]:
            return httpx.Response(403)
        blob = self.blobs.get(name)
        if blob is None:
            return httpx.Response(404)
        condition = request.headers.get("if-match")
        if condition is not None and condition != f'"{blob.etag}"':
            return httpx.Response(412)
        if request.method == "HEAD":
            return httpx.Response(200, headers={"content-length": str(len(blob.data)), "etag": f'"{blob.etag}"'})
        return self._get(request, name, blob)

    def _get(self, request: httpx.Request, name: str, blob: _Blob) -> httpx.Response:
        match = _RANGE.fullmatch(request.headers.get("range", ""))
        if match is None:
            return httpx.Response(200, stream=self._stream(name, blob.data, 0))
        start, end = int(match[1]), min(int(match[2]) + 1, len(blob.data))
        if start >= len(blob.data):
            return httpx.Response(416)
        self.ranges.append((name, start, end))
        headers = {"content-range": f"bytes {start}-{end - 1}/{len(blob.data)}"}
        return httpx.Response(206, headers=headers, stream=self._stream(name, blob.data[start:end], start))

    def _stream(self, name: str, data: bytes, start: int) -> httpx.SyncByteStream:
        return _Stream(self._pieces(name, data, start))

    def _pieces(self, name: str, data: bytes, start: int) -> Iterator[bytes]:
        for offset in range(0, len(data), self.piece_bytes):
            piece = bytearray(data[offset : offset + self.piece_bytes])
            for flip in [each for each in self.flip if each[0] == name]:
                if 0 <= (at := flip[1] - start - offset) < len(piece):
                    piece[at] ^= 1
                    self.flip.discard(flip)
            if self.cut_every is not None and self._carried + len(piece) > self.cut_every:
                self._carried = 0
                raise httpx.ReadError("the link is down")
            self._carried += len(piece)
            self.served[name] += len(piece)
            yield bytes(piece)

    def _list(self, request: httpx.Request) -> httpx.Response:
        names = sorted(self.blobs.keys() - self.opened_by.keys())
        start = int(request.url.params.get("marker", "0"))
        page, rest = names[start : start + self._page], names[start + self._page :]
        rows = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Etag>{self.blobs[name].etag}</Etag>"
            f"<Last-Modified>Tue, 24 Nov 2026 10:00:00 GMT</Last-Modified>"
            f"<Content-Length>{len(self.blobs[name].data)}</Content-Length></Properties></Blob>"
            for name in page
        )
        marker = str(start + self._page) if rest else ""
        document = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="x">'
            f"<Blobs>{rows}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        )
        return httpx.Response(200, stream=_Stream(iter([document.encode()])))


class _Stream(httpx.SyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces
