"""What imagedelta-native does in C instead, where it is there: the same, faster.

Source: docs/adr/0039.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from imagedelta.delta.format.mixing import native, native_is_there

Function = TypeVar("Function", bound=Callable[..., object])


def in_c(python: Function) -> Function:
    """Return the function of the same name in C; the one given where the package is not there, or has none."""
    found: Function = getattr(native(), python.__name__, python) if native_is_there() else python
    return found
