"""A real docker-registry (Debian's distribution 2.8) for tests, with the configuration and the runner we ship."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.archive_tools import require_tool
from tests.e2e.process_logs import forget, last_words, show_on_failure

SHIPPED = Path(__file__).parents[3] / "edge_module" / "registry"
CONFIG = SHIPPED / "config.yml"
_READY_SECONDS = 30
_STOP_SECONDS = 30


class RegistryProcess:
    """One registry on a free port of the loopback interface; everything it writes is under ``root``."""

    def __init__(
        self,
        root: Path,
        *,
        storage: Path | None = None,
        config: Path = CONFIG,
        runner: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Starts it and returns when it answers.

        Args:
            storage: Folder of its data, ``root/data`` when omitted.
            config: Its configuration file; address and folder of the data are set by variables.
            runner: Whether the shipped ``run`` starts it and looks after its data; else it is on its own.
            more: Further variables: ``REGISTRY_…`` overrides what the configuration says.
        """
        root.mkdir(parents=True, exist_ok=True)
        self.storage = storage or root / "data"
        self.log = root / "registry.log"
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self._environment = {
            **os.environ,
            "REGISTRY_HTTP_ADDR": self.address,
            "REGISTRY_HTTP_SECRET": "of the tests",
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(self.storage),
            "IMAGEDELTA_REGISTRY_CONFIG": str(config),
            "IMAGEDELTA_LOOK_SECONDS": "0.1",
            **(more or {}),
        }
        serve = [require_tool("docker-registry", "docker-registry"), "serve", str(config)]
        self._command = [str(SHIPPED / "run")] if runner else serve
        self.shared = self.storage / "imagedelta" if runner else None
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> RegistryProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again) on the same port and data; returns when it answers."""
        show_on_failure(f"registry in {self.log.parent}", self.log)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end and self.is_running:
            if self._answers():
                return
            time.sleep(0.05)
        pytest.fail(f"docker-registry does not run: {last_words(self.log)}", pytrace=False)

    def stop(self) -> None:
        """End it as a container is ended."""
        self._end(signal.SIGTERM)
        forget(f"registry in {self.log.parent}")

    def kill(self) -> None:
        """End it, and what started it, as the power does."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its port and answers nothing until ``thaw``."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def blob_file(self, digest: str) -> Path:
        """Where it keeps the bytes of a blob or manifest."""
        text = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / text[:2] / text / "data"

    def repository(self, name: str) -> Path:
        """Where it keeps the links of a repository."""
        return self.storage / "docker/registry/v2/repositories" / name

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
            os.killpg(self._process.pid, signal.SIGCONT)
        process, self._process = self._process, None
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        self._wait_for_the_port()

    def _wait_for_the_port(self) -> None:
        """The runner may be gone before its registry."""
        end = time.monotonic() + _STOP_SECONDS
        while self._answers() and time.monotonic() < end:
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.settimeout(5)
                connection.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
                return connection.recv(12).startswith(b"HTTP/1.")
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
