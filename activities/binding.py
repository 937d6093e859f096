"""What a step looks like to Durable: raise what a retry can heal, return what it cannot.

Source: docs/adr/0004-raise-means-retry.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from activities.failures import final_failure
from services.deps import Deps

log = logging.getLogger("imagedelta.steps")

Step = Callable[[Deps, Mapping[str, Any]], dict[str, Any]]


def bind(step: Step, deps: Callable[[], Deps]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The activity function of a step: ``{"ok": True, "value"}`` or ``{"ok": False, "code", "detail"}``."""

    def run(payload: dict) -> dict:  # type: ignore[type-arg]  # the worker refuses dict[str, Any] here
        ports = deps()  # a wrong setting is no failure of the step: it is tried again when somebody has mended it
        try:
            return {"ok": True, "value": step(ports, payload)}
        except Exception as error:
            code, detail = final_failure(error)
            log.warning("%s %s: %s (%s)", step.__name__, payload, detail, code, exc_info=code == "internal")
            return {"ok": False, "code": code, "detail": detail}

    run.__name__ = step.__name__  # not functools.wraps: the host would see two arguments
    return run
