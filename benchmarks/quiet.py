"""Logs of a run in which much fails on purpose, kept back until it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(level: int) -> Iterator[None]:
    """Keep back lines up to ``level``; decorates commands, too. Tests run commands in their own process."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)
