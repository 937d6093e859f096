"""Hours of the day at which a device uses its link, as people write them: ``22-6, 12-13:30``, in UTC.

UTC, because a ship crosses time zones and a container has none: the same text means the same moments everywhere.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

PATTERN = r"^$|^ *\d{1,2}(:\d\d)? *- *\d{1,2}(:\d\d)? *(, *\d{1,2}(:\d\d)? *- *\d{1,2}(:\d\d)? *){0,11}$"
MAX_TEXT = 200
_RANGE = re.compile(r"(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?")
_DAY = 24 * 60
_FORM = "ranges of hours like 22-6,12-13:30 are needed, each from 0:00 to 24:00 and not empty"

Hours = tuple[tuple[int, int], ...]
"""Minutes of the day, from and until; until is the smaller one over midnight. None at all: any time."""


def parse_hours(text: str) -> Hours:
    """Raises: ValueError."""
    if len(text) > MAX_TEXT or not re.fullmatch(PATTERN, text):
        raise ValueError(_FORM)
    return tuple(_range(each) for each in text.replace(" ", "").split(",") if each)


def seconds_until_open(hours: Hours, now: datetime) -> float:
    """0 when ``now`` lies in one of the ranges.

    Args:
        now: In UTC.
    """
    if not hours or any(_is_within(each, now) for each in hours):
        return 0.0
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [midnight + timedelta(minutes=start) for start, _ in hours]
    return min(((each - now) % timedelta(days=1)).total_seconds() for each in starts)


@lru_cache(maxsize=256)
def open_share(text: str) -> float:
    """Which part of a day the hours of ``text`` are; 1.0 for any time.

    Raises: ValueError.
    """
    hours = parse_hours(text)
    minutes = {minute % _DAY for start, end in hours for minute in range(start, end if start < end else end + _DAY)}
    return len(minutes) / _DAY if hours else 1.0


def _range(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError(_FORM)
    start, end = _minutes(match[1], match[2]), _minutes(match[3], match[4])
    if start in (end, _DAY):
        raise ValueError(_FORM)
    return start, end


def _minutes(hour: str, minute: str | None) -> int:
    value = int(hour) * 60 + int(minute or 0)
    if int(minute or 0) > 59 or value > _DAY:
        raise ValueError(_FORM)
    return value


def _is_within(hours: tuple[int, int], now: datetime) -> bool:
    start, end = hours
    minute = now.hour * 60 + now.minute
    return start <= minute < end if start < end else minute >= start or minute < end
