"""Reported properties as a twin takes them: what files are called here, and what servers say, must not mute the rest.

Source: learn.microsoft.com, "Understand and use device twins in IoT Hub", tags and properties format: a text has at
most 4 KB, a section at most 32 KB, and no text holds control characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imagedelta.errors import RequestError
from imagedelta.printable import printable

MAX_TEXT_BYTES = 4096
MAX_BYTES = 32 * 1024
_MAX_LIST = 64


def fitting(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with texts cut and spelt out, and only the last items of long lists.

    Raises: RequestError ``hub.refused`` when they are too large all the same.
    """
    found = {name: _fitting(value) for name, value in properties.items()}
    size = len(json.dumps(found, ensure_ascii=False).encode())
    if size > MAX_BYTES:
        raise RequestError(f"reported properties of {size} bytes, a twin takes {MAX_BYTES}", code="hub.refused")
    return found


def _fitting(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value).encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
    if isinstance(value, Mapping):
        return {name: _fitting(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_fitting(each) for each in value[-_MAX_LIST:]]
    return value
