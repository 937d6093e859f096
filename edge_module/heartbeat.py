"""Signs of life: when each part of the module has to have taken its next turn.

One small file in memory, never on the flash that wears out: written by the parts, read by the health check, which is
another process. Times are of the clock that runs since the machine's start, the same for all its processes: a wrong
calendar changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE_SECONDS = 600.0
"""How much later than announced a turn may come: every request has ended by then, whatever the link does."""
_WRITE_SECONDS = 5.0
"""A part that turns without a pause is news so often."""
_MAX_BYTES = 4096
log = logging.getLogger("imagedelta.heartbeat")


def heartbeat_path(root: Path) -> Path:
    """Where the module that works in ``root`` leaves its signs of life."""
    memory = Path("/dev/shm")  # noqa: S108 - every container has its own
    folder = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    name = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:16]
    return folder / f"imagedelta-{os.getuid()}-{name}.json"


class Heartbeat:
    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._written = float("-inf")
        with suppress(OSError):
            path.unlink()

    def beat(self, part: str, pause: float = 0.0) -> None:
        """``part`` is alive, and takes its next turn in ``pause`` seconds."""
        with self._lock:
            now = self._monotonic()
            is_new = part not in self._due
            self._due[part] = now + pause + PATIENCE_SECONDS
            if is_new or pause > _WRITE_SECONDS or now - self._written >= _WRITE_SECONDS:
                self._written = now
                self._write(json.dumps(self._due).encode())

    def overdue(self, more_seconds: float = 0.0) -> list[str]:
        """The parts that should have taken a turn long ago, and ``more_seconds`` before that."""
        with self._lock:
            return _overdue(self._due, self._monotonic() - more_seconds)

    def _write(self, data: bytes) -> None:
        """Whatever goes wrong here stops nothing: the health check will say so."""
        temporary = self._path.with_suffix(".tmp")
        try:
            with suppress(FileNotFoundError):
                temporary.unlink()
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            temporary.replace(self._path)
        except OSError as error:
            log.debug("no sign of life can be left in %s: %s", self._path, error)


def ailment(path: Path, now: float) -> str | None:
    """What is wrong with the module that writes ``path``; None when it is well."""
    try:
        with path.open("rb") as stream:
            due = json.loads(stream.read(_MAX_BYTES))
        late = _overdue({str(part): float(until) for part, until in due.items()}, now)
    except FileNotFoundError:
        return "no module runs here, or it has not started yet"
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        return f"{path} cannot be read: {error}"
    return f"no turn for more than {PATIENCE_SECONDS:.0f} s: {', '.join(late)}" if late else None


def _overdue(due: dict[str, float], now: float) -> list[str]:
    return sorted(part for part, until in due.items() if not now <= until < float("inf"))
