"""What a step looks like to Durable: raise what a retry can heal, return what it cannot.

Source: docs/adr/0004-raise-means-retry.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from imagedelta.errors import ImageDeltaError
from services.deps import Deps

log = logging.getLogger("imagedelta.steps")

Step = Callable[[Deps, Mapping[str, Any]], dict[str, Any]]


def bind(step: Step, deps: Callable[[], Deps]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The activity function of a step: ``{"ok": True, "value"}`` or ``{"ok": False, "code", "detail"}``.

    An error that nobody foresaw is final too (code ``internal``): repeating a defect helps nobody, and it must
    not stop the other devices of a fan-out.
    """

    def run(payload: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True, "value": step(deps(), payload)}
        except ImageDeltaError as error:
            if error.retryable:
                raise
            log.warning("%s %s: %s (%s)", step.__name__, dict(payload), error, error.code)
            return {"ok": False, "code": error.code, "detail": str(error)}
        except Exception as error:
            log.exception("%s %s", step.__name__, dict(payload))
            return {"ok": False, "code": "internal", "detail": f"{type(error).__name__}: {error}"[:500]}

    run.__name__ = step.__name__  # not functools.wraps: the host would see two arguments
    return run
