"""NCRONTAB schedules: six fields or five, in UTC, both day fields must match, time spans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.ncrontab import Schedule

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "following"),
    [
        ("*/15 * * * * *", datetime(2026, 1, 1, 12, 0, 15, tzinfo=UTC)),
        ("0 */5 * * * *", datetime(2026, 1, 1, 12, 5, tzinfo=UTC)),
        ("0 0 3 * * *", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        ("0 30 9 * JAN MON-FRI", datetime(2026, 1, 2, 9, 30, tzinfo=UTC)),
        ("0 0 0 * * SUN", datetime(2026, 1, 4, tzinfo=UTC)),
        ("0 0 0 * * 0", datetime(2026, 1, 4, tzinfo=UTC)),
        ("*/5 * * * *", datetime(2026, 1, 1, 12, 5, tzinfo=UTC)),
        ("0 3 * * *", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        ("30 9 * JAN MON-FRI", datetime(2026, 1, 2, 9, 30, tzinfo=UTC)),
        ("0 0 0 13 * FRI", datetime(2026, 2, 13, tzinfo=UTC)),
        ("00:00:30", START + timedelta(seconds=30)),
    ],
)
def test_the_next_time_is_found(expression: str, following: datetime) -> None:
    assert Schedule(expression).next_after(START) == following


def test_the_next_time_is_strictly_later() -> None:
    assert Schedule("0 0 12 * * *").next_after(START) == START + timedelta(days=1)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "61 * * * * *",
        "60 * * * *",
        "0 0 0 31 2 *",
        "0 0 0 L * *",
        "0 0 0 * * 7",
        "0 0 0 * * 5-7",
        "0 0 0 * * MON#1",
        "never",
        "00:00:00",
    ],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(SettingInvalid, match="is not a schedule"):
        Schedule(expression)


def test_the_interval_tells_how_often_it_fires() -> None:
    assert Schedule("*/15 * * * * *").interval_from(START) == timedelta(seconds=15)
    assert Schedule("0 0 3 * * *").interval_from(START) == timedelta(days=1)
