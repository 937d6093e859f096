"""The SDK's own converters between what travels and what functions get: the worker uses the same ones."""

from __future__ import annotations

from typing import Any

import azure.functions as func

_sdk: Any = func


def converter_of(kind: str) -> Any:
    """The converter of a trigger or binding type."""
    return _sdk.get_binding_registry().get(kind)
