"""Azure Container Registry over a real docker-registry: its way of giving tokens, and its storage elsewhere.

What it does, and where that is written:
- ``POST /oauth2/exchange`` with ``grant_type=access_token``, ``service`` (its own name) and an Entra token gives
  ``{"refresh_token": …}``; ``POST /oauth2/token`` with ``grant_type=refresh_token``, ``service``, ``scope`` and that
  token gives ``{"access_token": …}``, without ``expires_in``. Source: github.com/Azure/acr, docs/AAD-OAuth.md.
- The challenge names ``https://<registry>/oauth2/token`` as realm. Source: the same.
- Blobs are answered by a redirect to Azure Storage with a SAS. Source: learn.microsoft.com, "Mitigate data exfiltration
  with dedicated data endpoints".
- The storage refuses whoever brings ``Authorization`` beside a SAS (403, AuthenticationFailed), and serves single
  ranges. Source: learn.microsoft.com, "Authorize requests to Azure Storage"; "Specify the range header".
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import httpx

from tests.e2e.parts.registry_process import RegistryProcess
from tests.e2e.parts.token_server import ISSUER, SERVICE, TokenServer

_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_RANGE = re.compile(r"bytes=(\d+)-")
_SAS = "sig=of-the-storage"


@dataclass
class AcrStandIn:
    entra_token: str
    registry: RegistryProcess
    tokens: TokenServer
    address: str = ""
    storage: str = ""
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    """(method, path, whether it brought ``Authorization``) of every request, those to the storage too."""
    refresh_seconds: int = 3 * 3600
    cut_next: int | None = None
    """The next blob that is larger ends after so many bytes."""
    _refresh_tokens: set[str] = field(default_factory=set)

    def count(self, start: str) -> int:
        return sum(path.startswith(start) for _, path, _ in self.asked)

    def exchange(self, form: dict[str, str]) -> tuple[int, dict[str, str]]:
        known = form.get("grant_type") == "access_token" and form.get("service") == self.address
        if not known or form.get("access_token") != self.entra_token:
            return 401, {}
        token = _jwt(self.refresh_seconds)
        self._refresh_tokens.add(token)
        return 200, {"refresh_token": token}

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, str]]:
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") not in self._refresh_tokens:
            return 401, {}
        return 200, {"access_token": self.tokens.token(form["scope"])}


@contextmanager
def acr_stand_in(folder: Path, entra_token: str) -> Iterator[AcrStandIn]:
    """Start a registry that wants tokens, and everything of Azure's around it."""
    tokens = TokenServer(folder, "nobody", "in particular")
    front, storage = _server(), _server()
    settings = {
        "REGISTRY_AUTH": "token",
        "REGISTRY_AUTH_TOKEN_REALM": f"http://127.0.0.1:{front.server_address[1]}/oauth2/token",
        "REGISTRY_AUTH_TOKEN_SERVICE": SERVICE,
        "REGISTRY_AUTH_TOKEN_ISSUER": ISSUER,
        "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": str(tokens.bundle),
    }
    with RegistryProcess(folder / "registry", more=settings) as registry:
        of = AcrStandIn(entra_token, registry, tokens)
        of.address = f"127.0.0.1:{front.server_address[1]}"
        of.storage = f"http://127.0.0.1:{storage.server_address[1]}"
        front.RequestHandlerClass, storage.RequestHandlerClass = _front(of), _storage(of)
        threads = [Thread(target=each.serve_forever, args=(0.02,), daemon=True) for each in (front, storage)]
        for thread in threads:
            thread.start()
        try:
            yield of
        finally:
            for each in (front, storage):
                each.shutdown()
                each.server_close()
            tokens.stop()


def _server() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None, end: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:end])
        self.close_connection = end is not None

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _front(of: AcrStandIn) -> type[BaseHTTPRequestHandler]:
    class Front(_Handler):
        def do_POST(self) -> None:
            of.asked.append(("POST", self.path, "Authorization" in self.headers))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            answers = {"/oauth2/exchange": of.exchange, "/oauth2/token": of.token}
            status, answer = answers[self.path](form) if self.path in answers else (404, {})
            self.say(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        def do_GET(self) -> None:
            of.asked.append(("GET", self.path, "Authorization" in self.headers))
            kept = {name: self.headers[name] for name in ("Authorization", "Accept", "Range") if self.headers[name]}
            blob = _BLOB.fullmatch(self.path)
            method = "HEAD" if blob else "GET"
            real = httpx.request(method, of.registry.url + self.path, headers=kept, trust_env=False, timeout=30)
            if blob and real.is_success:
                self.say(307, b"", {"Location": f"{of.storage}/{blob[2]}?{_SAS}"})
                return
            passed = ("www-authenticate", "docker-content-digest", "content-type")
            self.say(real.status_code, real.content, {n: v for n, v in real.headers.items() if n in passed})

    return Front


def _storage(of: AcrStandIn) -> type[BaseHTTPRequestHandler]:
    class Storage(_Handler):
        def do_GET(self) -> None:
            of.asked.append(("GET", f"/storage{self.path}", "Authorization" in self.headers))
            digest, _, query = self.path.removeprefix("/").partition("?")
            if query != _SAS or "Authorization" in self.headers:
                self.say(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
                return
            data, end = of.registry.blob_file(digest).read_bytes(), None
            if of.cut_next is not None and len(data) > of.cut_next:
                end, of.cut_next = of.cut_next, None
            if asked := _RANGE.fullmatch(self.headers.get("Range", "")):
                begin = int(asked[1])
                whole = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"}
                self.say(206, data[begin:], whole, end)
            else:
                self.say(200, data, end=end)

    return Storage


def _jwt(seconds: int) -> str:
    now = int(time.time())
    claims = {"jti": secrets.token_hex(8), "iat": now, "exp": now + seconds, "grant_type": "refresh_token"}
    parts = ({"alg": "RS256"}, claims, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
