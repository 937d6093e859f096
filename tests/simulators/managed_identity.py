"""The endpoint that a function app asks for tokens of its managed identity, in memory of a test.

Source: learn.microsoft.com, "How to use managed identities for App Service and Azure Functions", REST endpoint
reference: ``GET ?api-version=2019-08-01&resource=&client_id=`` with ``X-IDENTITY-HEADER``; ``expires_on`` is text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"


@dataclass
class ManagedIdentity:
    """What was asked, and what is answered."""

    environment: dict[str, str] = field(default_factory=dict)
    """The variables that tell an app of the endpoint."""
    asked: list[dict[str, str]] = field(default_factory=list)
    lifetime: int = 24 * 3600
    tokens: dict[str, str] = field(default_factory=dict)
    """By resource; any other gets ``token-of-<resource>``."""
    failures: list[tuple[int, str]] = field(default_factory=list)
    """Statuses and bodies of the next answers, before all goes well again."""

    def answer(self, query: dict[str, str], header: str | None) -> tuple[int, str]:
        self.asked.append(query)
        if header != HEADER:
            return 401, "{}"
        if self.failures:
            return self.failures.pop(0)
        resource = query["resource"]
        token = {
            "access_token": self.tokens.get(resource, f"token-of-{resource}"),
            "expires_on": str(int(time.time()) + self.lifetime),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": query.get("client_id", "5e29463d-71da-4fe0-8e69-999b57db23b0"),
        }
        return 200, json.dumps(token)


@contextmanager
def managed_identity() -> Iterator[ManagedIdentity]:
    """Serve one on a free port of this machine."""
    of = ManagedIdentity()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            status, body = of.answer(query, self.headers.get("X-IDENTITY-HEADER"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/msi/token"
        of.environment = {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": HEADER}
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield of
        finally:
            server.shutdown()
            thread.join()
