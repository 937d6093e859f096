"""What fits into a module twin: IoT Hub takes 32 KiB of desired properties and not a byte more. Pure.

Source: Microsoft Learn, "Understand and use module twins in IoT Hub", "Module twin size".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_BYTES = 28 * 1024
"""Below the limit of 32 KiB: whoever else sets properties of the module there needs room too, and the hub counts a
little otherwise than JSON is written."""
GRANT_BYTES = 256
"""Of the grant for one patch, beyond its name."""
TOO_LARGE = "twin.too_large"
_SHORTENED = ("keepImages",)
"""Lists that may be cut from behind. A source that the device gives up is missed and costs bytes: nothing else."""


def fitted(document: Mapping[str, Any], most: int = MAX_BYTES) -> tuple[dict[str, Any], bool]:
    """The document with as much of its lists as fits, and whether something was left out.

    Each list has what matters most first. What was left out comes in when others have left.
    """
    fitting = dict(document)
    for name in _SHORTENED:
        over = size_of(fitting) - most
        items = list(fitting.get(name, ()))
        while over > 0 and items:
            over -= len(_json(items.pop())) + 1
        fitting[name] = items
    return fitting, any(len(fitting[name]) < len(document.get(name, ())) for name in _SHORTENED)


def size_of(document: Mapping[str, Any]) -> int:
    """In bytes, as the hub is sent it."""
    return len(_json(document))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
