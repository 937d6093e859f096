"""Time spans as .NET writes them in host.json and in binding attributes: ``[d.]hh:mm:ss[.fffffff]``."""

from __future__ import annotations

import re

from imagedelta_host.errors import SettingInvalid

_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d{1,7})?)?")


def is_timespan(text: str) -> bool:
    """Whether ``text`` has the form of a time span."""
    return _SPAN.fullmatch(text.strip()) is not None


def seconds_of(text: str) -> float:
    """The length of a time span, in seconds.

    Raises:
        SettingInvalid: The text is not of the form ``[d.]hh:mm[:ss]``.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise SettingInvalid(f"{text!r} is not a time span: write it as hh:mm:ss")
    days, hours, minutes, seconds, fraction = match.groups()
    whole = int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + int(seconds or 0)
    return whole + float(fraction or 0)
