"""Starts the embedded host as a real process, kills it, and talks to it as people and devices do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

APPS = Path(__file__).parents[1] / "apps"
START_SECONDS = 90.0


def wait_for(look: Callable[[], Any], seconds: float = 20.0, pause: float = 0.02) -> Any:
    """Look again and again until something true comes back.

    Raises:
        AssertionError: Nothing did within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(pause)
    raise AssertionError(f"nothing happened within {seconds} s: {look}")


def free_port() -> int:
    """Of 127.0.0.1, for a server that is to be told its port before it starts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class HostProcess:
    """One embedded host and its state folder; it can be started again after it has ended."""

    def __init__(self, state: Path, app: Path, **environment: str) -> None:
        self.state = state
        self.app = app
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.log = state.parent / f"{state.name}.log"

    def start(self) -> HostProcess:
        """Start the process and wait until it serves."""
        self.launch()
        wait_for(self._is_ready, START_SECONDS)
        return self

    def launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the process and do not wait."""
        command = [sys.executable, "-m", "imagedelta_cli.main", "host", "start", "--app", str(self.app)]
        command += ["--port", "0", "--state", str(self.state), *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **self.environment})
        return self.process

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError, ValueError, httpx.HTTPError):
            return self.endpoint()["pid"] == self.process.pid and self.admin("GET", "/admin/host/status").is_success
        return False

    def endpoint(self) -> dict[str, Any]:
        """What endpoint.json says."""
        endpoint: dict[str, Any] = json.loads((self.state / "endpoint.json").read_text())
        return endpoint

    @property
    def url(self) -> str:
        return str(self.endpoint()["url"])

    def kill(self) -> None:
        """End the process as the power switch does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = 30.0) -> int:
        """Ask the process to end; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def stop(self) -> None:
        """End the process if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with the function key."""
        headers = {"x-functions-key": self.endpoint()["key"], **options.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=30, **options)

    def admin(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with the master key."""
        return self.request(method, path, headers={"x-functions-key": self.endpoint()["masterKey"]}, **options)

    # Orchestrations

    def begin(self, orchestrator: str, payload: object = None, instance: str = "") -> str:
        """Start an orchestration through the app; returns its instance id."""
        path = f"/v1/start/{orchestrator}" + (f"/{instance}" if instance else "")
        response = self.request("POST", path, json=payload)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def call(self, call: str, instance: str = "", **arguments: object) -> httpx.Response:
        """Have the app make one call of the SDK's client."""
        return self.request("POST", f"/v1/client/{call}/{instance}", json=arguments)

    def durable(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request to the durable webhooks."""
        headers = {"x-functions-key": self.endpoint()["masterKey"], **options.pop("headers", {})}
        return self.request(method, f"/runtime/webhooks/durabletask/{path}", headers=headers, **options)

    def status(self, instance: str) -> dict[str, Any]:
        """The status payload of an instance."""
        status: dict[str, Any] = self.durable("GET", f"instances/{instance}").json()
        return status

    def result(self, instance: str, seconds: float = 30.0) -> tuple[str, Any]:
        """Wait for an instance to end; returns status and output."""

        def ended() -> dict[str, Any] | None:
            with contextlib.suppress(httpx.TransportError):
                response = self.durable("GET", f"instances/{instance}")
                if response.status_code == 200:
                    payload: dict[str, Any] = response.json()
                    return payload
            return None

        payload = wait_for(ended, seconds)
        return payload["runtimeStatus"], payload["output"]

    def run(self, orchestrator: str, payload: object = None, seconds: float = 30.0) -> tuple[str, Any]:
        """Start an orchestration and wait for it."""
        return self.result(self.begin(orchestrator, payload), seconds)


class HubClient:
    """The service side of a local hub, and devices that send to it."""

    def __init__(self, host: HostProcess, hub: str, key: str) -> None:
        self.base = f"{host.url}/iothub/{hub}"
        self._key = key

    def service(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request of the service policy."""
        headers = {"Authorization": sas(self._key, self.base, "iothubowner"), **options.pop("headers", {})}
        return httpx.request(method, self.base + path, headers=headers, **options)

    def device(self, method: str, path: str, key: str, resource: str, **options: Any) -> httpx.Response:
        """A request of a device or module with its own key."""
        headers = {"Authorization": sas(key, self.base + resource), **options.pop("headers", {})}
        return httpx.request(method, self.base + path, headers=headers, **options)

    def enrol(self, device: str, module: str) -> str:
        """Create a device with a module; returns the module's key."""
        self.service("PUT", f"/devices/{device}", json={"deviceId": device, "capabilities": {"iotEdge": True}})
        body = {"deviceId": device, "moduleId": module}
        answer = self.service("PUT", f"/devices/{device}/modules/{module}", json=body).json()
        return str(answer["authentication"]["symmetricKey"]["primaryKey"])

    def send(self, device: str, module: str, key: str, body: bytes, **headers: str) -> httpx.Response:
        """Send one message as a module."""
        resource = f"/devices/{device}/modules/{module}"
        return self.device("POST", f"{resource}/messages/events", key, resource, content=body, headers=headers)


def sas(key: str, resource: str, policy: str = "", seconds: int = 600) -> str:
    """A shared access signature, made as the IoT Hub documentation says."""
    encoded, expiry = quote(resource.split("://")[-1], safe=""), str(int(time.time()) + seconds)
    digest = hmac.new(base64.b64decode(key), f"{encoded}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(digest), safe="")
    return f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}" + (f"&skn={policy}" if policy else "")


def hub_key(state: Path, hub: str) -> str:
    """The service key of a local hub, from the state folder."""
    with contextlib.closing(sqlite3.connect(state / "iothub.sqlite")) as database:
        row = database.execute("select key from hub where name = ?", (hub,)).fetchone()
    return str(row[0])


def lines(path: Path, kind: str) -> list[dict[str, Any]]:
    """What the app noted, of one kind."""
    if not path.exists():
        return []
    notes = [json.loads(line) for line in path.read_text().splitlines()]
    return [note for note in notes if note["kind"] == kind]
