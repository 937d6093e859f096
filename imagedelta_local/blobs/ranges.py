"""The Range header: ``bytes=first-last``, ``bytes=first-`` and ``bytes=-count``; one range only."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RangeOutside(Exception):
    """No byte of the range exists."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The asked-for bytes as (start, end), end exclusive; ``None`` for the whole.

    A header of another form is ignored, as HTTP asks for.

    Raises:
        RangeOutside: The range begins at or after the end.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start >= end:
        raise RangeOutside(f"the blob has {size} bytes")
    return start, end
