"""Rules of device and module twins: merging, limits, forbidden names.

Source: "Understand and use device twins in IoT Hub" (public documentation): limits and format of properties.
"""

from __future__ import annotations

import json
from typing import Any

from imagedelta_local.iothub.answers import HubError, invalid

Properties = dict[str, Any]

MAX_PROPERTIES_BYTES = 32 << 10
MAX_TAGS_BYTES = 8 << 10
_MAX_TEXT_BYTES = 4 << 10
_MAX_DEPTH = 10
_MAX_NAME_BYTES = 1 << 10
_OF_THE_HUB = ("$version", "$metadata")


def merge(old: Properties, patch: Properties) -> Properties:
    """Apply a patch: objects are merged, ``null`` deletes, everything else replaces."""
    merged = dict(old)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            merged[name] = merge(before if isinstance(before, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def stamped(times: Properties, patch: Properties, moment: str) -> Properties:
    """The ``$metadata`` of properties that a patch changes: it mirrors them, each with its ``$lastUpdated``."""
    after = {**times, "$lastUpdated": moment}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        elif isinstance(value, dict):
            after[name] = stamped(after.get(name, {}), value, moment)
        else:
            after[name] = {"$lastUpdated": moment}
    return after


def own_properties(given: object, where: str) -> Properties:
    """The properties a client sent, without what belongs to the hub, checked against names and depth.

    Raises:
        HubError: Not an object, a forbidden name, a text over 4 KB, or more than 10 levels.
    """
    if not isinstance(given, dict):
        raise invalid(f"{where} must be a JSON object")
    own = {name: value for name, value in given.items() if name not in _OF_THE_HUB}
    _check(own, where, 1)
    return own


def _check(value: object, where: str, depth: int) -> None:
    if isinstance(value, str) and len(value.encode()) > _MAX_TEXT_BYTES:
        raise invalid(f"{where} is longer than {_MAX_TEXT_BYTES} bytes")
    children = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    if children and depth > _MAX_DEPTH:
        raise invalid(f"{where} is nested deeper than {_MAX_DEPTH} levels")
    for name, child in children:
        if isinstance(name, str):
            _check_name(name, where)
        _check(child, f"{where}.{name}", depth + 1)


def _check_name(name: str, where: str) -> None:
    forbidden = any(letter in ".$ " or ord(letter) < 32 for letter in name)
    if forbidden or not name or len(name.encode()) > _MAX_NAME_BYTES:
        raise invalid(f"{where} has a property called {name!r}: names hold no . $ space or control characters")


def require_size(properties: Properties, limit: int, where: str) -> None:
    """Refuse what is larger than the hub keeps.

    Raises:
        HubError: The JSON is longer than ``limit`` bytes.
    """
    size = len(json.dumps(properties, separators=(",", ":")).encode())
    if size > limit:
        raise HubError("TwinDocumentTooLarge", f"{where} would be {size} bytes long; the limit is {limit}", 400)
