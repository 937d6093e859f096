"""Register one image; what becomes of it is in SQL."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from orchestrators.retrying import Context, call


def register_image(context: Context) -> Generator[Any, Any, Any]:
    """Input ``{"registrationId"}``."""
    return (yield call(context, "read_image", context.get_input()))
