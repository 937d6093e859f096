"""The folder where the host keeps everything: one live host at a time, and where others find it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from imagedelta_host.errors import HostError, StateInUse
from imagedelta_host.files import write_private


class StateFolder:
    """A locked state folder; the lock goes with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        """Create the folder if needed and take its lock.

        Raises:
            StateInUse: Another live host holds it.
            HostError: It cannot be a folder of ours: a file is in its place, or it may not be written.
        """
        self.path = path.resolve()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = self._take_lock()
        except OSError as error:
            raise HostError(f"the state folder {self.path} cannot be used: {error}; choose another") from error

    def _take_lock(self) -> IO[str]:
        stream = (self.path / "lock").open("a+")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            stream.close()
            raise StateInUse(f"the state folder {self.path} is in use by the host with process id {holder}") from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        return stream

    def last_port(self) -> int:
        """The port of the previous host here; 0 when there was none."""
        try:
            port = int((self.path / "port").read_text())
        except (OSError, ValueError):
            return 0
        return port if 0 < port < 1 << 16 else 0

    def announce(self, url: str, port: int, key: str, master_key: str, told: Mapping[str, Any]) -> None:
        """Write endpoint.json, by which the command line finds the host.

        Args:
            told: What mounts tell about themselves.
        """
        write_private(self.path / "port", str(port).encode())
        endpoint = {"url": url, "key": key, "masterKey": master_key, "pid": os.getpid(), **told}
        write_private(self.path / "endpoint.json", json.dumps(endpoint, indent=2).encode())

    def withdraw(self) -> None:
        """Remove endpoint.json and let the folder go."""
        (self.path / "endpoint.json").unlink(missing_ok=True)
        self._lock.close()
