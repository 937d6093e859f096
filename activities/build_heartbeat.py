"""A build's lease, kept alive while a step works, and the news that the step must stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from imagedelta.errors import DependencyError

_BEATS_PER_LEASE = 5


class Stopped(Exception):
    """The step has lost its lease, or nobody waits for the patch any more. It ends where it can."""


class Heartbeat:
    """Renews a lease from a thread of its own; a storage that does not answer is asked again while the lease runs."""

    def __init__(self, keep: Callable[[], bool], lease_seconds: float) -> None:
        """Args:
        keep: Renews the lease; False when there is nothing to keep.
        """
        self._keep = keep
        self._lease = lease_seconds
        self._renewed = time.monotonic()
        self._ending = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="build-lease", daemon=True)

    def check(self) -> None:
        """Raises: Stopped."""
        if self._lost.is_set():
            raise Stopped

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ending.wait(self._lease / _BEATS_PER_LEASE):
            asked = time.monotonic()
            try:
                kept = self._keep()
            except DependencyError:
                kept = asked - self._renewed < self._lease
            else:
                self._renewed = asked
            if not kept:
                self._lost.set()
                return
