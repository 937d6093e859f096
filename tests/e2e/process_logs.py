"""Logs of the real processes that tests lean on: their last words stand in the report of a test that fails."""

from __future__ import annotations

from pathlib import Path

_MOST = 4000
_watched: dict[str, Path] = {}


def show_on_failure(title: str, log: Path) -> None:
    """Add the end of ``log`` to the report of every test that fails from now on."""
    _watched[title] = log


def forget(title: str) -> None:
    """The process has ended as it should."""
    _watched.pop(title, None)


def last_words(log: Path) -> str:
    """The end of a log; "" when there is none yet."""
    return log.read_bytes()[-_MOST:].decode(errors="replace") if log.exists() else ""


def sections() -> list[tuple[str, str]]:
    """(title, text) of every watched log, for a report of pytest."""
    return [(f"log of {title}", last_words(log)) for title, log in _watched.items()]
