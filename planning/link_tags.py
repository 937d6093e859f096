"""What a link brings and costs, as tags of the device say it where nobody gave it at enrolment.

Tags come from hubs, where people write what they like: what is no positive number is not known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

RATE = "link-kbits-per-second"
PRICE = "money-per-megabyte"
THIN = "thin-link"
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?", re.ASCII)
_BYTES_PER_KBIT = 125.0


def bytes_per_second(tags: Mapping[str, str]) -> float | None:
    kbits = _number(tags.get(RATE))
    return kbits * _BYTES_PER_KBIT if kbits else None


def money_per_megabyte(tags: Mapping[str, str]) -> float | None:
    return _number(tags.get(PRICE))


def is_thin(tags: Mapping[str, str]) -> bool | None:
    """Whether new bytes are to be coded for the shortest patch; None where no tag says yes or no."""
    return {"yes": True, "no": False}.get(tags.get(THIN, ""))


def _number(text: str | None) -> float | None:
    value = float(text) if text and _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None
