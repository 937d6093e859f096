"""Processes that another one has started, by a word of their command line; and whether one has ended."""

from __future__ import annotations

from contextlib import suppress

import psutil


def is_gone(pid: int) -> bool:
    """Whether it has ended, even while it is looked at; a zombie has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children(of: psutil.Process, word: str, *, recursive: bool = False) -> list[psutil.Process]:
    """Those that run now; one that ends while it is looked at, or waits to be reaped, is none."""
    found = []
    for child in of.children(recursive=recursive):
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if child.status() != psutil.STATUS_ZOMBIE and word in child.cmdline():
                found.append(child)
    return found
