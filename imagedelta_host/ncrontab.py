"""Schedules of timer triggers: NCRONTAB with six fields or five (at second 0), in UTC, or a time span between runs.

Fields are read by cronsim; what it knows beyond NCrontab (``L``, ``#``, a seventh day) is refused as in Azure. Where
both day of month and day of week are given, both must match, as in NCrontab (cron itself would take either).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.timespans import is_timespan, seconds_of

_FIELDS = 6
_NUMBERS = re.compile(r"[0-9*,/\-]+")


class Schedule:
    """When a timer fires."""

    def __init__(self, expression: str) -> None:
        """Read an expression.

        Raises:
            SettingInvalid: It is neither six fields, nor five, nor a time span.
        """
        self.expression = expression.strip()
        self._interval = seconds_of(self.expression) if is_timespan(self.expression) else None
        self._fields = self.expression.split()
        self._weekdays = frozenset(range(7))
        if self._interval is None:
            self._read_fields()
        elif self._interval <= 0:
            raise SettingInvalid(f"{expression!r} is not a schedule: the time span must be above zero")

    def _read_fields(self) -> None:
        if len(self._fields) == _FIELDS - 1:
            self._fields = ["0", *self._fields]
        if len(self._fields) != _FIELDS:
            raise SettingInvalid(
                f"{self.expression!r} is not a schedule: write six fields "
                "(second minute hour day month day-of-week), five without the seconds, or a time span"
            )
        try:
            _refuse_what_is_not_ncrontab(self._fields)
            self._weekdays = _weekdays(self._fields[5])
            CronSim(self._days_expression(), datetime.now(UTC))
        except CronSimError as error:
            raise SettingInvalid(f"{self.expression!r} is not a schedule: {error}") from error

    def _days_expression(self) -> str:
        return " ".join([*self._fields[:5], "*"])

    def next_after(self, moment: datetime) -> datetime:
        """The first time strictly after ``moment`` (UTC)."""
        if self._interval is not None:
            return moment + timedelta(seconds=self._interval)
        for found in CronSim(self._days_expression(), moment):
            if (found.weekday() + 1) % 7 in self._weekdays:
                return found
        raise SettingInvalid(f"{self.expression!r} never comes")

    def interval_from(self, moment: datetime) -> timedelta:
        """The time between the next two runs after ``moment``."""
        first = self.next_after(moment)
        return self.next_after(first) - first


def _refuse_what_is_not_ncrontab(fields: list[str]) -> None:
    for field in fields[:4]:
        if not _NUMBERS.fullmatch(field):
            raise CronSimError(f"{field!r} is not of numbers, * , - and /")
    if "7" in re.split(r"[,\-/]", fields[5].partition("/")[0]):
        raise CronSimError("days of the week are 0 to 6")


def _weekdays(field: str) -> frozenset[int]:
    """Days of the week in a field, Sunday = 0; cronsim reads the names and ranges."""
    found = CronSim(f"0 0 0 * * {field}", datetime.now(UTC)).weekdays
    days = [day for day in found if isinstance(day, int)]
    if len(days) != len(found):
        raise CronSimError("Bad day-of-week")
    return frozenset(day % 7 for day in days)
