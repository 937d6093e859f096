"""The kinds of work that the timer does itself, and how long is waited before what failed is tried again.

Which columns say what is due: docs/schema.md, "Due work".
"""

from __future__ import annotations

from datetime import timedelta

SETTLE, NOTIFY, RELEASE, CONFIRM, SYNC, TIDY = "settle", "notify", "release", "confirm", "sync", "tidy"
READ_HUBS, SILENCE = "read_hubs", "silence"
KINDS = (SETTLE, NOTIFY, RELEASE, CONFIRM, SYNC, TIDY, READ_HUBS, SILENCE)

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)


def pause_after(tries: int, first: timedelta = FIRST_PAUSE, longest: timedelta = LONGEST_PAUSE) -> timedelta:
    """Before the next try, after ``tries`` vain ones: doubled each time, up to ``longest``."""
    factor: int = 2 ** min(max(tries - 1, 0), 20)
    return min(first * factor, longest)
