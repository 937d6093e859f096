"""What IoT Hub takes as desired properties of a twin, looked at when a set is ordered: a person still sees the answer.

Source: Microsoft Learn, "Understand and use device twins in IoT Hub", "Tags and properties format" and "Device twin
size"; "IoT Hub quotas and throttling", modules of a deployment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

MAX_MODULES = 50
MAX_BYTES = 32 << 10
_MAX_TEXT = 4 << 10
_MAX_DEPTH = 10
_MAX_NAME = 1 << 10
_NUMBERS = 2**52


def faults(content: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What of modulesContent in the full form a hub would refuse, each as a sentence."""
    for module, part in content.items():
        desired = part["properties.desired"]
        yield from _faults(desired, module, 1)
        if (size := size_of(desired)) > MAX_BYTES:
            yield f"{module} has {size} bytes of desired properties, a twin takes {MAX_BYTES}"


def size_of(properties: Any) -> int:
    """In bytes, as a hub is sent it."""
    return len(json.dumps(properties, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _faults(value: Any, where: str, depth: int) -> Iterator[str]:
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > _MAX_TEXT:
        yield f"{where} is a text of more than {_MAX_TEXT} bytes"
    if isinstance(value, int | float) and abs(value) > _NUMBERS:
        yield f"{where} is a number beyond 2^52"
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _faults(item, f"{where}[{number}]", depth + 1)
    if isinstance(value, Mapping):
        if depth > _MAX_DEPTH and value:
            yield f"{where} is nested deeper than {_MAX_DEPTH}"
            return
        for name, item in value.items():
            if any(letter in ".$ " or ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name):
                yield f"{where} has a property {name!r}: names in twins hold no . $ space or control character"
            if not name or len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME:
                yield f"{where} has a property whose name has {len(name)} characters"
            yield from _faults(item, f"{where}.{name}", depth + 1)
