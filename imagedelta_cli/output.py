"""What commands print: lines for people, one JSON line at the end for programs, bars on a terminal."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column as TableColumn
from rich.text import Text

from imagedelta.printable import printable
from imagedelta_cli.cells import bytes_text
from imagedelta_cli.tables import Column, table_lines, text_of
from imagedelta_cli.terminal import columns_of_stdout, say, say_json

Report = Callable[[int, int], None]
"""Called with (bytes done, bytes in all; 0 when that is not known)."""


def emit(
    result: Mapping[str, Any], as_json: bool, tables: Mapping[str, Sequence[Column]] = MappingProxyType({})
) -> None:
    """Print ``result`` as ``name  value`` lines and tables, or as one JSON line.

    Args:
        tables: Which names hold rows of a table, and its columns.
    """
    if as_json:
        say_json(result)
        return
    say_pairs({name: value for name, value in result.items() if name not in tables})
    for name, columns in tables.items():
        if rows := result.get(name):
            say()
            say_table(rows, columns)


def say_pairs(pairs: Mapping[str, object], width: int = 0) -> None:
    """Print ``name  value`` lines."""
    width = max(width, *map(len, pairs)) if pairs else 0
    for name, value in pairs.items():
        say(f"{name:<{width}}  {text_of(value)}")


def say_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print a table: as wide as the terminal, or with every cell whole where stdout is none."""
    heading, *lines = table_lines(rows, columns, columns_of_stdout())
    say(heading, bold=True)
    for line in lines:
        say(line)


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
        title = TextColumn("{task.description}", markup=False, table_column=TableColumn(no_wrap=True, ratio=1))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        columns = (SpinnerColumn("line"), title, BarColumn(20), _BytesColumn(), *times)
        with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as self._bars:
            try:
                yield self._bars
            finally:
                self._bars = None


class _BytesColumn(ProgressColumn):
    """``1.2 MB``, ``1.2 of 3.4 MB``; nothing where nothing is counted."""

    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text("")
        done = bytes_text(task.completed)
        return Text(done if task.total is None else f"{done} of {bytes_text(task.total)}")


_screen = _Screen()


@contextmanager
def stages(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows on stderr what goes on and how far it is; without a terminal it does nothing.

    Args:
        title: What goes on at first.
    """
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    with _screen.bars() as bars:
        shown, task = title, bars.add_task(printable(title), total=None)

        def show(stage: str, done: int, total: int) -> None:
            nonlocal shown, task
            if stage != shown:
                bars.remove_task(task)
                shown, task = stage, bars.add_task(printable(stage), total=None)
            bars.update(task, completed=done, total=total or None)

        try:
            yield show
        finally:
            bars.remove_task(task)


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """Yield a function that moves a bar of one stage, as ``stages`` does."""
    with stages(title) as show:
        yield lambda done, total: show(title, done, total)


def peak_rss_bytes() -> int:
    """Return the high-water of this process's resident memory.

    On Linux from /proc: ``ru_maxrss`` also counts the process that started this one, before its exec.
    """
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
