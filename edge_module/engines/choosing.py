"""Which engine keeps the images, where the settings leave it open: ``auto``.

``registry`` where one answers, else ``docker``. A registry that was chosen stays chosen, whether it answers or not:
with another engine the device would look as if it had been replaced. ``docker`` is reconsidered at each start, since
the registry may have been down, or not there yet, when it was chosen.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from edge_module.damage import read_own
from edge_module.files import Files, write_atomically

_NAME = "state/engine.json"
_MAX_BYTES = 4096
_FIRST_SECONDS = 120.0
"""At the very first start everything on a device starts at once: the registry is given so long."""
_STEP_SECONDS = 2.0
log = logging.getLogger("imagedelta.engine")


def choose_engine(
    files: Files,
    registry_answers: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """``registry`` or ``docker``; remembered, and told in the log."""
    known = _remembered(files)
    if known == "registry":
        log.info("engine registry, as before")
        return known
    patience = _FIRST_SECONDS if known is None else 0.0
    chosen = "registry" if _comes_up(registry_answers, patience, clock, sleep) else "docker"
    if chosen != known:
        log.warning("engine %s from now on%s", chosen, f", it was {known}" if known else "")
        files.make_folders("state")
        write_atomically(files, _NAME, json.dumps({"engine": chosen}).encode())
    return chosen


def _comes_up(
    answers: Callable[[], bool], patience: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> bool:
    end = clock() + patience
    while not answers():
        if clock() >= end:
            return False
        sleep(_STEP_SECONDS)
    return True


def _remembered(files: Files) -> str | None:
    try:
        found = json.loads(read_own(files, _NAME, _MAX_BYTES) or b"")["engine"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if found in ("registry", "docker") else None
