"""Counting the calls of a simulated port, and letting the n-th of them go wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imagedelta.errors import DependencyError


class Crash(BaseException):
    """The process dies here: no code of ours catches it, and nothing after it runs."""


@dataclass(frozen=True)
class _Fault:
    error: BaseException
    after: bool


class Calls:
    """``count["put"]`` is how often ``put`` was called; faults are for calls to come."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._faults: dict[tuple[str, int], _Fault] = {}
        self._lock = threading.Lock()

    def fail(self, method: str, nth: int = 1, *, after: bool = False, error: BaseException | None = None) -> None:
        """Let the ``nth`` call of ``method`` from now on raise.

        Args:
            after: Only once the call has done its work, as when the answer is lost.
            error: What is raised; else DependencyError.
        """
        fault = _Fault(error or DependencyError(f"{method} did not answer"), after)
        self._faults[method, self.count[method] + nth] = fault

    @contextmanager
    def call(self, method: str) -> Iterator[None]:
        with self._lock:
            self.count[method] += 1
            fault = self._faults.pop((method, self.count[method]), None)
        if fault is not None and not fault.after:
            raise fault.error
        yield
        if fault is not None:
            raise fault.error
