"""mosquitto with TLS in the place of IoT Hub's or edgeHub's MQTT endpoint; it can be killed, frozen and started again.

azure-iot-device always takes port 8883 (443 for websockets), so each broker has a loopback address of its own.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.e2e.archive_tools import require_tool
from tests.e2e.host_process import free_port, wait_for
from tests.e2e.parts.certificates import Authority


class Broker:
    def __init__(self, folder: Path, *, websockets: bool = False) -> None:
        """Args:
        folder: Its configuration, its log and what it keeps.
        websockets: Serve them on port 443, which one broker of a machine can at a time: it takes every address.
        """
        folder.mkdir(parents=True, exist_ok=True)
        chance = random.SystemRandom()
        self.address = ".".join(["127", *(str(chance.randint(1, 254)) for _ in range(3))])
        self.authority = Authority()
        self.port = free_port()
        """Without TLS, for whoever plays the cloud."""
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.certify()
        self._configure(websockets)

    def certify(self, valid_from: datetime | None = None) -> None:
        """Take another certificate, from the next start on."""
        self.authority.issue(self._folder, self.address, valid_from)

    def start(self) -> Broker:
        try:
            wait_for(self._runs, 60, pause=0.1)
        except AssertionError:
            raise AssertionError(f"mosquitto does not start: {self.log()}") from None
        return self

    def stop(self) -> None:
        """As at a shutdown: what it has is on its disk."""
        self._end(lambda process: process.terminate())

    def kill(self) -> None:
        self._end(lambda process: process.kill())

    def kill_frozen(self) -> None:
        """It does not wake up before, so it answers nothing of what came meanwhile."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=20)
        self._process = None

    def save(self) -> None:
        """Write sessions and subscriptions to the disk: a kill does not end them."""
        assert self._process is not None
        before = self._saved_at()
        self._process.send_signal(signal.SIGUSR1)
        wait_for(lambda: self._saved_at() > before)

    def freeze(self) -> None:
        """It holds its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def unread(self) -> int:
        """Bytes that have come to it over TLS and wait, as when it is frozen. Source: proc_net_tcp.rst of Linux."""
        here = f"{socket.inet_aton(self.address)[::-1].hex().upper()}:{8883:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(int(row[4].partition(":")[2], 16) for row in rows if row[1] == here)

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]

    def _saved_at(self) -> int:
        path = self._folder / "mosquitto.db"
        return path.stat().st_mtime_ns if path.exists() else 0

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            how(self._process)
            self._process.wait(timeout=20)
            self._process = None

    def _runs(self) -> bool:
        """Whether it answers; one that has ended, because another had its port, is started again."""
        if self._process is None or self._process.poll() is not None:
            command = [require_tool("mosquitto", "mosquitto"), "-c", str(self._folder / "mosquitto.conf")]
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return all(_answers(*address) for address in [(self.address, 8883), ("127.0.0.1", self.port)])

    def _configure(self, websockets: bool) -> None:
        tls = [f"certfile {self._folder}/server.pem", f"keyfile {self._folder}/server.key"]
        lines = [
            f"listener 8883 {self.address}",
            *tls,
            f"listener {self.port} 127.0.0.1",
            *([f"listener 443 {self.address}", "protocol websockets", *tls] if websockets else []),
            "allow_anonymous true",
            "persistence true",
            f"persistence_location {self._folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "max_queued_messages 0",
            "log_type all",
            *(["user root"] if os.getuid() == 0 else []),
        ]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
