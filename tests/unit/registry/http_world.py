"""A small HTTP server that answers as a test says: a path to a function of the request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.images import BuiltImage, Pack, descriptor, gzipped

Answer = tuple[int, dict[str, str], bytes]
Route = Callable[[BaseHTTPRequestHandler], Answer | None]
"""``None``: the function has written its answer itself."""


class HttpWorld:
    """Serves ``routes`` by path, without the query; ``seen`` keeps (path, Authorization, Range) of each request."""

    def __init__(self) -> None:
        self.routes: dict[str, Route | Answer] = {}
        self.seen: list[tuple[str, str, str]] = []
        world = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = self.headers
                world.seen.append((self.path, headers.get("Authorization", ""), headers.get("Range", "")))
                route = world.routes.get(self.path.partition("?")[0], (404, {}, b""))
                answer = route(self) if callable(route) else route
                if answer:
                    send(self, answer)

            do_POST = do_GET  # noqa: N815 - named by http.server

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, built: BuiltImage, tag: str = "1", pack: Pack = gzipped) -> dict[str, object]:
        """Serve an image as repository ``app``; return its manifest, which ``put_manifest`` may replace."""
        packed = [pack(layer) for layer in built.layers]
        config = descriptor("application/vnd.oci.image.config.v1+json", built.image.config)
        layers = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", data) for data in packed]
        for entry, data in zip([config, *layers], [built.image.config, *packed], strict=True):
            self.routes[f"/v2/app/blobs/{entry['digest']}"] = (200, {}, data)
        manifest: dict[str, object] = {"schemaVersion": 2, "config": config, "layers": layers}
        self.put_manifest(manifest, tag)
        return manifest

    def put_manifest(self, document: object, tag: str = "1", headers: dict[str, str] | None = None) -> None:
        self.routes[f"/v2/app/manifests/{tag}"] = (200, headers or {}, json.dumps(document).encode())


def send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    status, headers, body = answer
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
