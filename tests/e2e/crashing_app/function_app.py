"""The project's own function app, whose steps cut the power of the whole host at armed boundaries, each once.

A boundary is armed by a file ``<step>.<when>`` in the folder CRASH_FOLDER; it is taken by renaming the file, so that
the boundary is passed unharmed after the restart. ``when`` is

- ``before``: nothing of the step has happened;
- ``within-N``: the outside world has answered for the N-th time in this run of the step (mail accepted, manifest
  set, blob stored, twin written), SQL does not know it yet;
- the name of the call of a port (``send``, ``apply_content`` …): it is this call that was answered;
- ``after``: SQL knows, Durable has not recorded the result.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]
sys.path.insert(0, str(PROJECT))

import activities  # noqa: E402
from activities.binding import Step  # noqa: E402
from services.deps import Deps  # noqa: E402

_FOLDER = Path(os.environ["CRASH_FOLDER"])
_ENDPOINT = Path(os.environ["CRASH_STATE"]) / "endpoint.json"
_EFFECTS = ("send", "apply_content", "put", "compose_if_absent", "put_if_absent", "update_desired")
"""Calls of ports that change the world outside SQL."""


class Watched:
    """A port that passes ``boundary`` after each call that changed something."""

    def __init__(self, port: object, boundary: Callable[[str], None]) -> None:
        self._port = port
        self._boundary = boundary

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name not in _EFFECTS:
            return method

        def run(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            self._boundary(name)
            return result

        return run


def fragile(step: Step) -> Step:
    """The step with a boundary before it, after each of its effects, and after it."""

    def run(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
        _pass(step.__name__, "before")
        effects = count(1)

        def within(effect: str) -> None:
            _pass(step.__name__, f"within-{next(effects)}")
            _pass(step.__name__, effect)

        result = step(_watched(deps, within), payload)
        _pass(step.__name__, "after")
        return result

    run.__name__ = step.__name__
    return run


def _watched(deps: Deps, boundary: Callable[[str], None]) -> Deps:
    ports: dict[str, Any] = {
        "blobs": Watched(deps.blobs, boundary),
        "hubs": {name: Watched(hub, boundary) for name, hub in deps.hubs.items()},
        "mailer": Watched(deps.mailer, boundary),
    }
    return dataclasses.replace(deps, **ports)


def _pass(step: str, when: str) -> None:
    """Go on, or end host and worker at once if this boundary is armed."""
    armed = _FOLDER / f"{step}.{when}"
    try:
        armed.rename(armed.with_suffix(f".{when}-taken"))
    except FileNotFoundError:
        return
    os.kill(json.loads(_ENDPOINT.read_text())["pid"], signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # never: the signal is there before the next instruction


_fragile = {step.__name__: fragile(step) for step in activities.STEPS}
vars(activities)["STEPS"] = tuple(_fragile.values())
vars(import_module("activities.attend"))["attend"] = _fragile["attend"]
_spec = importlib.util.spec_from_file_location("project_function_app", PROJECT / "function_app.py")
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
app = _module.app
