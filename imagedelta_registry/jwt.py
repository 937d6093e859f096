"""When a token ends, as far as that can be told; whether it is good is for those who take it."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError

_UNSAID_SECONDS = 60.0
"""Of a token whose server does not say. Source: distribution, docs/spec/auth/token.md, "expires_in"."""
_MOST_SECONDS = 3600.0
_MARGIN_SECONDS = 30.0
"""A request that is begun with a token should find it valid when it arrives."""


def ends_at(token: str, answer: Mapping[str, Any]) -> float:
    """Until when to use a token, by this machine's clock (``time.time``).

    Args:
        answer: What the token came in: its ``expires_in`` counts from now, whatever other clocks say. Azure's
            registries leave it out, so the token is asked itself, by the difference of its own times.
    """
    seconds = _number(answer.get("expires_in"))
    if seconds is None:
        claims = _claims(token)
        begin, end = _number(claims.get("iat")), _number(claims.get("exp"))
        seconds = _UNSAID_SECONDS if begin is None or end is None else end - begin
    return time.time() + max(0.0, min(seconds, _MOST_SECONDS) - _MARGIN_SECONDS)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _claims(token: str) -> Mapping[str, Any]:
    """The middle of a JSON Web Token; nothing of anything else."""
    parts = token.split(".")
    try:
        return parse_object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), "token")
    except (IndexError, ContentError, ValueError):
        return {}
