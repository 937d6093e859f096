"""JSON from outside: whatever is wrong with it is a ContentError, also nesting made to exhaust the stack.

All that reads JSON of others reads it here, so that what walks through it later may recurse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from imagedelta.errors import ContentError

MAX_DEPTH = 64
"""Objects and lists in each other. Image configs and deployment manifests have about ten."""


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """Parse ``data`` (bounded by the caller) as one JSON object; ``what`` names it in errors.

    Raises:
        ContentError: It is no JSON object in UTF-8.
    """
    value = parse(data, what)
    if not isinstance(value, dict):
        raise ContentError(f"{what}: expected a JSON object, found {type(value).__name__}")
    return value


def parse(data: bytes, what: str) -> Any:
    """Parse ``data`` as any JSON value; see ``parse_object``."""
    too_deep = ContentError(f"{what}: JSON of more than {MAX_DEPTH} objects and lists in each other")
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        raise too_deep from None
    except ValueError as error:
        raise ContentError(f"{what}: no valid JSON ({error})") from None
    if _is_deeper(value, MAX_DEPTH):
        raise too_deep
    return value


def _is_deeper(value: Any, most: int) -> bool:
    """Look one level deeper at a time, so that this does not recurse itself."""
    level = [value]
    for _ in range(most + 1):
        containers = [found for found in level if isinstance(found, dict | list)]
        level = [each for found in containers for each in (found.values() if isinstance(found, dict) else found)]
        if not containers:
            return False
    return True


def field_of(document: Mapping[str, Any], name: str) -> Any:
    """Return a field whose name may be written in any case, as Go reads it; ``None`` when there is none.

    Of several spellings the last counts, as there.
    """
    wanted = name.lower()
    found = [value for key, value in document.items() if key.lower() == wanted]
    return found[-1] if found else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
