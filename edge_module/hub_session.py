"""One connection to the hub, in a process of its own (edge_module.hub_talker): asked with a deadline, ended at will.

A process that does not answer in time is killed, whatever it hangs in; it is killed as well when it ends its side.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, cast

from imagedelta.errors import DependencyError

_MAX_LINE = 1024 * 1024
"""An answer with the largest twin has less than a tenth of it."""
_FAREWELL_SECONDS = 2.0
_ROOT = str(Path(__file__).parents[1])
log = logging.getLogger("imagedelta.hub")

Answer = Mapping[str, Any]


class Session:
    def __init__(self, wake: Callable[[], None]) -> None:
        """Args:
        wake: Called when the desired properties may have changed, and when the connection has ended.
        """
        self._wake = wake
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._late = False
        self._process = _start()
        self._requests = cast(IO[bytes], self._process.stdin)
        self._lines = cast(IO[bytes], self._process.stdout)
        threading.Thread(target=self._listen, name="hub session", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any], seconds: float) -> Answer:
        """The answer to a request; one thread asks at a time.

        Raises: DependencyError: the connection ended, ``hub.no_answer`` when none came within ``seconds``. What was
            asked for may have been done all the same. The process is no more.
        """
        timer = threading.Timer(seconds, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            return self._ask(request, seconds)
        finally:
            timer.cancel()

    def kill(self) -> None:
        self._process.kill()

    def farewell(self) -> None:
        """End the connection as the hub likes it, or a moment later as it must be."""
        try:
            self.ask({"do": "close"}, _FAREWELL_SECONDS)
        except DependencyError as error:
            log.debug("%s", error)
        self.kill()

    def _ask(self, request: Mapping[str, Any], seconds: float) -> Answer:
        answer = None
        if self._write(json.dumps(request).encode() + b"\n"):
            answer = self._answers.get()
        if answer is None:
            self.kill()
            if self._late:
                raise DependencyError(f"hub: no answer within {seconds:.0f} s", code="hub.no_answer")
            raise DependencyError("hub: the connection has ended", code="hub.unreachable")
        return answer

    def _write(self, line: bytes) -> bool:
        try:
            self._requests.write(line)
            self._requests.flush()
        except (OSError, ValueError):  # it has ended
            return False
        return True

    def _give_up(self) -> None:
        self._late = True
        self.kill()

    def _listen(self) -> None:
        with self._lines as pipe:
            while line := pipe.readline(_MAX_LINE):
                answer = _parse(line)
                if answer is None:
                    break
                if "changed" in answer:
                    self._wake()
                else:
                    self._answers.put(answer)
        self.kill()
        self._process.wait()
        with suppress(OSError):  # of what it did not read any more
            self._requests.close()
        self._answers.put(None)
        self._wake()


def _start() -> subprocess.Popen[bytes]:
    """Raises: DependencyError: the machine has no room for another process."""
    paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "edge_module.hub_talker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # a Ctrl-C is for the module, which ends this process in its turn
        )
    except OSError as error:
        raise DependencyError(f"hub: {error.strerror}", code="hub.unreachable") from error


def _parse(line: bytes) -> Answer | None:
    try:
        answer = json.loads(line)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
