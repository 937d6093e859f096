"""The project's own function app, which waits a thirtieth of its pauses before it tries again.

So that a test that lets services fail need not wait for minutes. What is tried, and how often, stays as it is.
"""

from __future__ import annotations

import importlib.util
import sys
from datetime import timedelta
from pathlib import Path

PROJECT = Path(__file__).parents[3]
sys.path.insert(0, str(PROJECT))

_HASTE = 30
_ROOMS = ("activities", "contracts", "planning", "services", "store")


def _hurry() -> None:
    for module in [found for name, found in sys.modules.items() if name.partition(".")[0] in _ROOMS]:
        names = vars(module)
        for name, value in [*names.items()]:
            if isinstance(value, timedelta) and ("PAUSE" in name or name == "_PUT_OFF"):
                names[name] = value / _HASTE
    work = sys.modules["contracts.work"]
    work.pause_after.__defaults__ = (work.FIRST_PAUSE, work.LONGEST_PAUSE)  # they were read when it was defined


_spec = importlib.util.spec_from_file_location("project_function_app", PROJECT / "function_app.py")
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
_hurry()
app = _module.app
