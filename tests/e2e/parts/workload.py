"""A stand-in for IoT Edge's workload API on a unix socket: it knows the trust bundle and signs for the module.

Source: learn.microsoft.com, "Understand IoT Edge module identity", workload API; edgelet/api/workload.yaml.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

KEY = b"the module's key, which only the workload API knows"


class Workload:
    def __init__(self, path: Path, trust_bundle: str) -> None:
        self.signed: list[tuple[str, str]] = []
        """Path and text of what was signed."""
        self.silent = False
        """Requests are taken and not answered."""
        self._path = path
        self._gate = threading.Event()
        self._server = _Server(str(path), _handler(self, trust_bundle))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def environment(self, broker: str, device: str, module: str) -> dict[str, str]:
        """What IoT Edge tells a module in its environment."""
        return {
            "IOTEDGE_WORKLOADURI": f"unix://{self._path}",
            "IOTEDGE_DEVICEID": device,
            "IOTEDGE_MODULEID": module,
            "IOTEDGE_MODULEGENERATIONID": "638010619771297413",
            "IOTEDGE_IOTHUBHOSTNAME": "north.azure-devices.net",
            "IOTEDGE_GATEWAYHOSTNAME": broker,
            "IOTEDGE_APIVERSION": "2022-08-03",
            "IOTEDGE_AUTHSCHEME": "sasToken",
        }

    def close(self) -> None:
        self._gate.set()
        self._server.shutdown()
        self._server.server_close()

    def hold(self) -> None:
        if self.silent:
            self._gate.wait(120)

    def sign(self, path: str, request: bytes) -> bytes:
        text = base64.b64decode(json.loads(request)["data"])
        self.signed.append((path, text.decode()))
        digest = hmac.new(KEY, text, hashlib.sha256).digest()
        return json.dumps({"digest": base64.b64encode(digest).decode()}).encode()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _handler(workload: Workload, trust_bundle: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(
                json.dumps({"certificate": trust_bundle}).encode(), urlsplit(self.path).path == "/trust-bundle"
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            path = urlsplit(self.path).path
            self._answer(workload.sign(path, body), path.endswith("/sign"))

        def _answer(self, body: bytes, known: bool) -> None:
            workload.hold()
            self.send_response(200 if known else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler
