"""What commands print: lines for people, one JSON line at the end for programs, bars on a terminal."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

Report = Callable[[int, int], None]
"""Called with (bytes done, bytes in all; 0 when that is not known)."""


def emit(result: dict[str, Any], as_json: bool) -> None:
    """Print ``result`` as ``name: value`` lines, or as one JSON line."""
    if as_json:
        click.echo(json.dumps(result))
        return
    width = max(map(len, result), default=0)
    for name, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{name}:")
            for row in value:
                click.echo("  " + "  ".join(f"{key} {_for_people(item)}" for key, item in row.items()))
        else:
            click.echo(f"{name:<{width}}  {_for_people(value)}")


def emit_rows(rows: Sequence[dict[str, Any]], document: dict[str, Any], as_json: bool) -> None:
    """Print ``rows`` as a table, or ``document`` as one JSON line."""
    if as_json or not rows:
        emit(document, as_json)
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*map(_for_people, row.values()))
    Console(soft_wrap=True).print(table)


class Counter:
    """Adds up bytes and reports the sum; how many there will be is not known unless it is said."""

    def __init__(self, report: Report, expected: int = 0) -> None:
        self._report = report
        self._expected = expected
        self.total = 0

    def add(self, count: int) -> None:
        self.total += count
        self._report(self.total, self._expected)


class _Screen:
    """The bars of this process: one live display, however many pieces of work are shown inside each other."""

    def __init__(self) -> None:
        self._bars: Progress | None = None

    @contextmanager
    def bars(self) -> Iterator[Progress]:
        if self._bars:
            yield self._bars
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as self._bars:
            try:
                yield self._bars
            finally:
                self._bars = None


_screen = _Screen()


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Yield a function that moves a progress bar on stderr; without a terminal it does nothing."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with _screen.bars() as bars:
        task = bars.add_task(escape(title), total=None)
        try:
            yield lambda done, total: bars.update(task, completed=done, total=total or None)
        finally:
            bars.remove_task(task)


def peak_rss_bytes() -> int:
    """Return the high-water of this process's resident memory.

    On Linux from /proc: ``ru_maxrss`` also counts the process that started this one, before its exec.
    """
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _for_people(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_for_people, value)) or "none"
    return "-" if value is None else str(value)
