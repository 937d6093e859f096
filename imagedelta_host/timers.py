"""Timer triggers: when they fire, what they are told, and what is remembered across restarts."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.functions import meta

from imagedelta_host.converters import converter_of
from imagedelta_host.errors import StateDamaged
from imagedelta_host.files import read_object, set_aside, write_private
from imagedelta_host.invoke import Invoker, RetryContext
from imagedelta_host.loader import AppFunction
from imagedelta_host.ncrontab import Schedule

log = logging.getLogger("imagedelta_host")

_MONITORED_FROM = timedelta(minutes=1)


@dataclass
class TimerStatus:
    """When a timer last ran and when it is due, UTC, ISO 8601; empty before the first run."""

    last: str = ""
    next: str = ""

    @staticmethod
    def read(value: Any) -> TimerStatus:
        """A status from its JSON.

        Raises:
            TypeError: It is no object of two texts.
            ValueError: One is no ISO 8601 time with a zone.
        """
        status = TimerStatus(**value)
        for text in filter(None, (status.last, status.next)):
            if datetime.fromisoformat(text).tzinfo is None:
                raise ValueError(f"{text!r} has no zone")
        return status


class TimerStatuses:
    """The status of every timer in one file, replaced at each run."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that is damaged is set aside and said so, since a timer runs without it as well."""
        self._path = path
        try:
            self._data = {name: TimerStatus.read(status) for name, status in read_object(path).items()}
        except (StateDamaged, ValueError, TypeError) as error:
            aside = set_aside(path)
            log.error("%s is damaged (%s) and was moved to %s: runs missed before now are lost", path, error, aside)
            self._data = {}

    def of(self, name: str) -> TimerStatus:
        """The status of a timer."""
        return self._data.get(name, TimerStatus())

    def set(self, name: str, status: TimerStatus) -> None:
        """Note the status of a timer and store it; it is noted also when it cannot be stored.

        Raises:
            OSError: The disk refused; the next call stores all.
        """
        self._data[name] = status
        content = {timer: vars(noted) for timer, noted in self._data.items()}
        write_private(self._path, json.dumps(content, indent=2).encode())


class Timer:
    """One timer trigger; runs never overlap."""

    def __init__(self, function: AppFunction, statuses: TimerStatuses, invoker: Invoker) -> None:
        """Raises:
        SettingInvalid: The schedule cannot be read.
        """
        self.function = function
        self.schedule = Schedule(str(function.trigger.get("schedule", "")))
        self._statuses = statuses
        self._invoker = invoker
        self._lock = asyncio.Lock()
        self._due: datetime | None = None
        self.stopping = False

    @property
    def busy(self) -> bool:
        """Whether the function is running."""
        return self._lock.locked()

    async def run_forever(self) -> None:
        """Fire on schedule until cancelled or ``stopping``; at once if a run was missed or runOnStartup is set.

        Started again after an error it goes on with the next run: what was fired is not fired again.
        """
        if self._due is None:
            self._due = self._first_due(datetime.now(UTC))
        while not self.stopping:
            due = self._due
            await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
            late = datetime.now(UTC) - due > timedelta(seconds=1) and self._is_monitored(due)
            await self.fire(past_due=late)
            self._due = self.schedule.next_after(max(datetime.now(UTC), due))
            self._statuses.set(self.function.name, TimerStatus(datetime.now(UTC).isoformat(), self._due.isoformat()))

    def _first_due(self, now: datetime) -> datetime:
        missed = self._statuses.of(self.function.name).next
        if self.function.trigger.get("runOnStartup"):
            return now
        if missed and self._is_monitored(now) and datetime.fromisoformat(missed) < now:
            return datetime.fromisoformat(missed)
        return self.schedule.next_after(now)

    def _is_monitored(self, now: datetime) -> bool:
        """Missed runs are made up for, unless switched off or more often than once a minute."""
        wanted = self.function.trigger.get("useMonitor")
        return wanted is not False and self.schedule.interval_from(now) >= _MONITORED_FROM

    async def fire(self, *, past_due: bool = False) -> None:
        """Run the function once, with its retries; a failure is logged and ends there."""
        async with self._lock:
            await self._call_with_retries(self._value(past_due))

    async def _call_with_retries(self, value: object) -> None:
        retry, policy = 0, self.function.retry
        while True:
            try:
                await self._invoker.call(self.function, value, RetryContext(retry, policy.max_retries if policy else 0))
                return
            except Exception:
                retry += 1
                delay = policy.delay(retry) if policy else None
                if delay is None or self.stopping:
                    return
                await asyncio.sleep(delay)

    def _value(self, past_due: bool) -> object:
        status = self._statuses.of(self.function.name)
        described = None
        if status.last:
            described = {"Last": status.last, "LastUpdated": status.last, "Next": status.next}
        data = {"IsPastDue": past_due, "Schedule": {"AdjustForDST": False}, "ScheduleStatus": described}
        converter = converter_of(self.function.kind)
        return converter.decode(meta.Datum(json.dumps(data), "json"), trigger_metadata={})
