"""A token server as registries name them: checks Basic logins, signs tokens that docker-registry accepts.

Source: distribution, docs/spec/auth/jwt.md.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

SERVICE, ISSUER = "test-registry", "test-issuer"


class TokenServer:
    """Gives tokens to those who show ``user:password``; ``asked`` keeps the scopes asked for."""

    def __init__(self, folder: Path, user: str, password: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._certificate = _self_signed(self._key)
        self._basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.bundle = folder / "token.crt"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    @property
    def auth(self) -> str:
        """The ``auth`` section of a docker-registry that trusts this server."""
        settings = f"realm: '{self.realm}', service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {self.bundle}"
        return f"auth: {{token: {{{settings}}}}}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def token(self, scope: str) -> str:
        kind, name, actions = scope.split(":")
        now = int(time.time())
        chain = base64.b64encode(self._certificate.public_bytes(serialization.Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        body = {"iss": ISSUER, "sub": "test", "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300}
        body |= {"jti": secrets.token_hex(8), "access": [{"type": kind, "name": name, "actions": actions.split(",")}]}
        signed = f"{_part(json.dumps(head).encode())}.{_part(json.dumps(body).encode())}"
        seal = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_part(seal)}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if self.headers.get("Authorization") != server._basic or query["service"] != [SERVICE]:
                    self.send_error(401)
                    return
                scope = query.get("scope", ["registry:catalog:*"])[0]
                server.asked.append(scope)
                answer = json.dumps({"token": server.token(scope), "expires_in": 300}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(hours=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256())
