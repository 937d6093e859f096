"""Canonical JSON: one spelling per value, so that a seal over the bytes is a seal over the meaning.

Keys sorted by code point, no spaces, UTF-8 without escapes beyond those JSON requires, integers only.
"""

from __future__ import annotations

import json
from typing import Any

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError


def canonical_bytes(document: dict[str, Any]) -> bytes:
    """Return the one spelling of ``document``.

    Raises:
        ContentError: Something in it is outside the canonical set (a float, an unpaired surrogate).
    """
    _refuse_floats(document)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ContentError("canonical JSON: a text holds an unpaired surrogate") from error


def read_canonical(data: bytes, what: str) -> dict[str, Any]:
    """Parse ``data`` and refuse every spelling but the canonical one.

    Raises:
        ContentError: It is no JSON object, or spelled in another way (spaces, order, duplicate keys).
    """
    document = parse_object(data, what)
    if canonical_bytes(document) != data:
        raise ContentError(f"{what}: not in canonical JSON")
    return document


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise ContentError("canonical JSON: numbers are integers")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_floats(item)
