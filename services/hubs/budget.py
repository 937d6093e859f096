"""Keeps what is asked of a hub within what it takes, so that it need not refuse: a budget for each kind of request.

IoT Hub counts "in minute ranges", for the hub as a whole. So a budget is what may be asked within any minute, at once
or spread over it. One that is used up says when it is worth asking again; a hub that refuses all the same (others ask
it, too, and other processes of ours) closes the budget until the time it names.
Source: learn.microsoft.com, "IoT Hub quotas and throttling", edition S1: queries and operations on configurations
20/min/unit, twin reads the higher of 100/s and 10/s/unit, twin updates of 50/s and 5/s/unit.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from imagedelta.errors import DependencyError
from services.hubs.calls import Document, HubCalls, Rows

T = TypeVar("T")

_SHARE = 0.9
"""Of what the hub takes: people and pipelines ask it, too."""
_PATIENCE = 2.0
"""Seconds that a request waits for its budget rather than being put off."""
_MINUTE = 61.0
"""A little more than one: requests take a while to get there, not all the same."""
_SHORTEST = 0.001
RESERVED = 0.5
"""Of the queries, for what people wait for: what can wait (reading a hub's devices) leaves so many."""


class Budget:
    """How many requests of a kind may be made; many threads take from it."""

    def __init__(
        self,
        a_minute: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most = int(a_minute)
        self._taken: deque[float] = deque()
        """When the requests of the last minute were made."""
        self._closed_until = 0.0
        self._monotonic, self._sleep = monotonic, sleep
        self._lock = threading.Lock()

    def left(self) -> int:
        """How many may be made now, or after a wait that is no longer than one's patience."""
        soon = self._monotonic() + _PATIENCE
        with self._lock:
            if self._closed_until > soon:
                return 0
            return self._most - sum(1 for at in self._taken if at + _MINUTE > soon)

    def take(self, reserve: float = 0.0) -> timedelta | None:
        """Take one, waiting a moment if need be. None when it was taken, else how long there is none.

        Args:
            reserve: Share that must be left.
        """
        end = self._monotonic() + _PATIENCE
        while True:
            with self._lock:
                rest = self._rest(reserve)
                if rest <= 0:
                    self._taken.append(self._monotonic())
                    return None
            if self._monotonic() + rest > end:
                return timedelta(seconds=rest)
            self._sleep(max(rest, _SHORTEST))

    def close(self, rest: timedelta) -> None:
        """The hub wants to be left alone for so long."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._monotonic() + rest.total_seconds())

    def _rest(self, reserve: float) -> float:
        """Seconds until one may be taken."""
        now = self._monotonic()
        while self._taken and now - self._taken[0] >= _MINUTE:
            self._taken.popleft()
        allowed = max(1, int(self._most * (1 - reserve)))
        over = len(self._taken) - allowed
        rest = self._taken[over] + _MINUTE - now if over >= 0 else 0.0
        return max(rest, self._closed_until - now)


class Budgets:
    """Of one hub."""

    def __init__(
        self,
        units: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.queries = Budget(_SHARE * 20 * units, monotonic, sleep)
        self.writes = Budget(_SHARE * 20 * units, monotonic, sleep)
        """Of deployments: to one device, or by target condition."""
        self.reads = Budget(_SHARE * 60 * max(100, 10 * units), monotonic, sleep)
        self.updates = Budget(_SHARE * 60 * max(50, 5 * units), monotonic, sleep)


class BudgetedCalls:
    """``HubCalls`` that are made within budgets."""

    def __init__(self, calls: HubCalls, budgets: Budgets, reserve: float = 0.0) -> None:
        """Args:
        reserve: Share of the queries that is left for others.
        """
        self.name = calls.name
        self._calls = calls
        self._of = budgets
        self._reserve = reserve

    def module_twin(self, device_id: str, module_id: str) -> Document | None:
        return self._within(self._of.reads, lambda: self._calls.module_twin(device_id, module_id))

    def patch_desired(self, device_id: str, module_id: str, patch: Document) -> Document | None:
        return self._within(self._of.updates, lambda: self._calls.patch_desired(device_id, module_id, patch))

    def device_twin(self, device_id: str) -> Document | None:
        return self._within(self._of.reads, lambda: self._calls.device_twin(device_id))

    def patch_tags(self, device_id: str, patch: Document, etag: str) -> bool | None:
        return self._within(self._of.updates, lambda: self._calls.patch_tags(device_id, patch, etag))

    def query(self, text: str, page: int, after: str | None) -> Rows:
        return self._within(self._of.queries, lambda: self._calls.query(text, page, after), self._reserve)

    def apply(self, device_id: str, modules_content: Document) -> bool:
        return self._within(self._of.writes, lambda: self._calls.apply(device_id, modules_content))

    def configurations(self) -> Sequence[Any]:
        return self._within(self._of.writes, self._calls.configurations)

    def configuration(self, configuration_id: str) -> Document:
        return self._within(self._of.writes, lambda: self._calls.configuration(configuration_id))

    def create_configuration(self, document: Document) -> bool:
        return self._within(self._of.writes, lambda: self._calls.create_configuration(document))

    def delete_configuration(self, configuration_id: str) -> None:
        self._within(self._of.writes, lambda: self._calls.delete_configuration(configuration_id))

    def _within(self, budget: Budget, ask: Callable[[], T], reserve: float = 0.0) -> T:
        if (rest := budget.take(reserve)) is not None:
            raise DependencyError(
                f"hub {self.name}: as many requests as it takes in a minute were made",
                code="hub.budget",
                retry_after=rest,
            )
        try:
            return ask()
        except DependencyError as error:
            if error.retry_after is not None:
                budget.close(error.retry_after)
            raise
