"""A real HTTP server of one container: List Blobs and ranged GET as Azure answers, on a port of its own."""

from __future__ import annotations

import http.server
import re
import threading
from collections import Counter
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_PIECE_BYTES = 16 * 1024


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The link was cut: no news here."""


class BlobServer:
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        """Requests for each blob; "" is the list."""
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> BlobServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._server.server_port

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        if parse_qs(url.query).get("comp") == ["list"]:
            self.asked[""] += 1
            _send(request, 200, self._list())
            return
        name = unquote(url.path.rpartition("/")[2])
        self.asked[name] += 1
        data = self.blobs.get(name)
        if data is None:
            _send(request, 404, b"")
        elif request.headers.get("if-match", _etag(data)) != _etag(data):
            _send(request, 412, b"")
        elif (match := _RANGE.fullmatch(request.headers.get("range", ""))) is None:
            _send(request, 200, data)
        elif int(match[1]) >= len(data):
            _send(request, 416, b"")
        else:
            part = data[int(match[1]) : int(match[2]) + 1]
            _send(request, 206, part, f"bytes {match[1]}-{int(match[1]) + len(part) - 1}/{len(data)}")

    def _list(self) -> bytes:
        rows = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Etag>{_etag(data)[1:-1]}</Etag>"
            f"<Content-Length>{len(data)}</Content-Length></Properties></Blob>"
            for name, data in sorted(self.blobs.items())
        )
        return f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker/></EnumerationResults>".encode()


def _etag(data: bytes) -> str:
    return f'"0x{len(data):x}"'


def _send(request: http.server.BaseHTTPRequestHandler, status: int, body: bytes, content_range: str = "") -> None:
    request.send_response(status)
    request.send_header("content-length", str(len(body)))
    if content_range:
        request.send_header("content-range", content_range)
    request.end_headers()
    for start in range(0, len(body), _PIECE_BYTES):
        request.wfile.write(body[start : start + _PIECE_BYTES])
