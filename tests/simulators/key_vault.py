"""A vault of Azure Key Vault over HTTPS on this machine, with one P-256 key that really signs.

Source: Key Vault REST reference, "Authentication, requests and responses" (the challenge of a request without a token),
"Get Key", "sign", error bodies ``{"error": {"code", "message"}}``; "Azure Key Vault throttling guidance" (429).
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from imagedelta.bundles.keys import PublicKey
from tests.e2e.parts.certificates import Authority

HOST = "imagedelta-test.vault.azure.net"
VERSION = "0123456789abcdef0123456789abcdef"
KEY = f"https://{HOST}/keys/bundles/{VERSION}"
_CHALLENGE = (
    'Bearer authorization="https://login.microsoftonline.com/72f988bf-0000-4000-8000-2d7cd011db47", '
    'resource="https://vault.azure.net"'
)

Answer = tuple[int, dict[str, Any], dict[str, str]]


@dataclass
class KeyVault:
    """What is asked, and what is answered."""

    token: str = "token-of-https://vault.azure.net"
    """The only one that opens it."""
    asked: list[str] = field(default_factory=list)
    """Methods and paths of requests that brought the token."""
    failures: list[Answer] = field(default_factory=list)
    """Of the next requests that bring the token, before all goes well again."""
    curve: str = "P-256"
    signs_wrongly: bool = False
    private: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))

    @property
    def public_key(self) -> PublicKey:
        point = self.private.public_key().public_numbers()
        return PublicKey("ES256", b"\x04" + point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big"))

    def answer(self, method: str, path: str, authorization: str | None, body: bytes) -> Answer:
        if authorization is None:
            return 401, _error("Unauthorized"), {"WWW-Authenticate": _CHALLENGE}
        if authorization != f"Bearer {self.token}":
            return 401, _error("Unauthorized"), {"WWW-Authenticate": _CHALLENGE}
        self.asked.append(f"{method} {path}")
        if self.failures:
            return self.failures.pop(0)
        if (method, path) == ("GET", f"/keys/bundles/{VERSION}"):
            return 200, {"key": self._jwk(), "attributes": {"enabled": True}}, {}
        if (method, path) == ("POST", f"/keys/bundles/{VERSION}/sign"):
            return self._sign(json.loads(body))
        return 404, _error("KeyNotFound"), {}

    def _jwk(self) -> dict[str, Any]:
        raw = self.public_key.raw
        point = {"x": _text(raw[1:33]), "y": _text(raw[33:])}
        return {"kid": KEY, "kty": "EC", "crv": self.curve, "key_ops": ["sign", "verify"], **point}

    def _sign(self, order: dict[str, str]) -> Answer:
        digest = base64.urlsafe_b64decode(order["value"] + "=" * (-len(order["value"]) % 4))
        if order["alg"] != "ES256" or len(digest) != 32:
            return 400, _error("BadParameter"), {}
        r, s = decode_dss_signature(self.private.sign(digest, ECDSA(Prehashed(SHA256()))))
        signature = r.to_bytes(32, "big") + (s ^ self.signs_wrongly).to_bytes(32, "big")
        return 200, {"kid": KEY, "value": _text(signature)}, {}


def busy(status: int = 429, **headers: str) -> Answer:
    return status, _error("Throttled"), headers


def refusal(status: int, code: str) -> Answer:
    return status, _error(code), {}


@contextmanager
def key_vault(folder: Path) -> Iterator[KeyVault]:
    """Serve one; ``HOST`` leads to it in this process, and its certificate is believed by libraries that ask
    ``REQUESTS_CA_BUNDLE``."""
    of = KeyVault()
    authority = Authority()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue(folder, HOST))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            status, told, headers = of.answer(self.command, path, self.headers.get("Authorization"), body)
            data = json.dumps(told).encode()
            self.send_response(status)
            for name, value in {
                **headers,
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
            }.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        trust = {"REQUESTS_CA_BUNDLE": str(authority.write(folder)), "NO_PROXY": HOST}
        try:
            with mock.patch.dict("os.environ", trust), _leads_to(server.server_address[1]):
                yield of
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _leads_to(port: int) -> Iterator[None]:
    real = socket.getaddrinfo

    def found(host: Any, *args: Any, **options: Any) -> Any:
        if host != HOST:
            return real(host, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    with mock.patch("socket.getaddrinfo", found):
        yield


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"{code}: said by the vault"}}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
