"""Names of files that are set aside for people in a folder of their own: numbered, so the oldest gives way first."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(\d{6})-.*", re.DOTALL)


def is_numbered(name: str) -> bool:
    return _NUMBERED.fullmatch(name) is not None


def numbered(name: str, beside: Iterable[str]) -> str:
    """``name`` under the number after the highest of those that are there."""
    numbers = [int(found[1]) for each in beside if (found := _NUMBERED.fullmatch(each))]
    return f"{max(numbers, default=0) % 999_999 + 1:06d}-{name}"
