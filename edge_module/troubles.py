"""What waits and why, for the reported properties: the cloud hears of it also when no report can be written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from imagedelta.printable import printable

MAX_TOLD = 8
_MAX_NAME, _MAX_DETAIL = 120, 300


@dataclass(frozen=True)
class _Trouble:
    code: str
    detail: str
    since: str


class Troubles:
    """Shared by all parts of the module."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Args:
        now: Seconds since 1970, as far as this device knows.
        """
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, _Trouble] = {}

    def note(self, what: str, code: str, detail: str) -> bool:
        """``what`` waits; whether that is news. The same code again is none."""
        with self._lock:
            known = self._known.get(what)
            if known is not None and known.code == code:
                return False
            self._known[what] = _Trouble(code, detail, utc(self._now()))
            return True

    def clear(self, what: str) -> None:
        with self._lock:
            self._known.pop(what, None)

    def codes(self) -> set[str]:
        with self._lock:
            return {trouble.code for trouble in self._known.values()}

    def told(self) -> list[dict[str, str]]:
        """The oldest few, in the words of the reported properties."""
        with self._lock:
            known = list(self._known.items())[:MAX_TOLD]
        return [
            {
                "what": printable(what)[:_MAX_NAME],
                "code": trouble.code,
                "detail": printable(trouble.detail)[:_MAX_DETAIL],
                "since": trouble.since,
            }
            for what, trouble in known
        ]


def utc(seconds: float) -> str:
    """ISO 8601 to the second; a clock beyond all calendars says 1970."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00Z"
