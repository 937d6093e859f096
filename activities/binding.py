"""What a step looks like to Durable: raise what a retry can heal, return what it cannot.

Source: docs/adr/0004-raise-means-retry.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from activities.failures import final_failure
from activities.watching import working_on
from services.deps import Deps
from services.watching.metrics import STEPS_FAILED
from services.watching.telemetry import Span

log = logging.getLogger("imagedelta.steps")

Step = Callable[[Deps, Mapping[str, Any]], dict[str, Any]]


def bind(step: Step, deps: Callable[[], Deps]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The activity function of a step: ``{"ok": True, "value"}`` or ``{"ok": False, "code", "detail"}``."""

    def run(payload: dict) -> dict:  # type: ignore[type-arg]  # the worker refuses dict[str, Any] here
        ports = deps()  # a wrong setting is no failure of the step: it is tried again when somebody has mended it
        with _watched(ports, step.__name__, payload) as span:
            try:
                return {"ok": True, "value": step(ports, payload)}
            except Exception as error:
                code, detail = final_failure(error)
                log.warning("%s %s: %s (%s)", step.__name__, payload, detail, code, exc_info=code == "internal")
                span.attributes["error.type"] = code
                ports.telemetry.record(STEPS_FAILED, 1, step=step.__name__, code=code)
                return {"ok": False, "code": code, "detail": detail}

    run.__name__ = step.__name__  # not functools.wraps: the host would see two arguments
    return run


def _watched(deps: Deps, name: str, payload: Mapping[str, Any]) -> AbstractContextManager[Span]:
    """A step that is about nothing in particular (the timer's) is many pieces of work, which are watched one by one."""
    set_id, patch_id = payload.get("setId"), payload.get("patchId")
    registration_id = payload.get("registrationId")
    if not (set_id or patch_id or registration_id):
        return nullcontext(Span(None))
    sets = [set_id] if set_id else []
    return working_on(deps, name, sets, patch_id=patch_id, set_id=set_id, registration_id=registration_id)
