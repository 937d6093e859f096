"""A real dockerd for tests, with its own data, socket and containerd; needs root, but no network and no iptables."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.archive_tools import require_tool, run
from tests.e2e.process_logs import forget, last_words, show_on_failure

_READY_SECONDS = 60
_STOP_SECONDS = 60


class DockerDaemon:
    """Everything it writes is under ``root``, whose path is short: a socket's name has at most 107 bytes."""

    def __init__(self, root: Path, options: Sequence[str] = ()) -> None:
        """Starts it. Args:
        options: More of dockerd's own, e.g. ``--live-restore``.
        """
        self._root = root
        self._options = tuple(options)
        self._client = require_tool("docker", "docker.io")
        self._tool = require_tool("dockerd", "docker.io")
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = root / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.data = root / "data"
        self.log = root / "dockerd.log"
        self.start()

    def start(self) -> None:
        """Start it (again); ``wait_until_ready`` says when it answers."""
        command = [self._tool, "--data-root", self.data, "--exec-root", self._root / "exec", "-H", self.host]
        command += ["-p", self._root / "pid", "--iptables=false", "--bridge=none", *self._options]
        show_on_failure(f"dockerd in {self._root}", self.log)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        """Return when it answers; fail with its last words if it does not within a minute."""
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end and self._is_alive():
            if self._answers():
                return
            time.sleep(0.1)
        pytest.fail(f"dockerd does not run (it needs root): {last_words(self.log)}", pytrace=False)

    def docker(self, *arguments: str | Path, stdin: bytes | None = None) -> str:
        """Run a command of the docker client against this daemon."""
        return run(self._client, *arguments, env=self.env, stdin=stdin)

    @property
    def env(self) -> dict[str, str]:
        """Where clients find it."""
        return {"DOCKER_HOST": self.host}

    def kill(self) -> None:
        """SIGKILL, as a power cut would end it and its containerd; ``start`` brings it back. Containers live on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=_STOP_SECONDS)
        self._kill_containerd()
        (self._root / "pid").unlink(missing_ok=True)  # as after a boot: it refuses to start beside a living number

    def stop(self) -> None:
        """End it, and the containerd that a killed one left behind."""
        if self._is_alive():
            assert self._process is not None
            self._process.terminate()
            self._process.wait(timeout=_STOP_SECONDS)
        self._kill_containerd()
        self._unmount()
        forget(f"dockerd in {self._root}")

    def _kill_containerd(self) -> None:
        """And wait until it is gone: a dockerd that starts would rely on one that is about to die."""
        noted = self._root / "exec/containerd/containerd.pid"
        end = time.monotonic() + _STOP_SECONDS
        with suppress(OSError, ValueError):
            pid = int(noted.read_text())
            while time.monotonic() < end:
                os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)
        noted.unlink(missing_ok=True)

    def _unmount(self) -> None:
        """It leaves its network namespaces mounted, and a folder with a mount in it cannot be deleted by anybody."""
        below = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in reversed([mounted for mounted in below if mounted.startswith(f"{self._root}/")]):
            subprocess.run(["umount", "--lazy", place], check=True)

    def _is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        asked = [self._client, "-H", self.host, "version"]
        return subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0
