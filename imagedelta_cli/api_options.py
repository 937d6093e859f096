"""What every command that talks to a host shares: its options, its tables, waiting."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from imagedelta.errors import DependencyError
from imagedelta_cli.api_client import Api, find_endpoint

Column = tuple[str, Callable[[Mapping[str, Any]], object]]
"""Heading, and what of an item stands below it."""

limit_option = click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Items at most.")


def host_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --url, --key and --json; it receives ``api`` and ``as_json``."""

    @click.option("--url", help="Address of the host; IMAGEDELTA_URL, or the host started here, when absent.")
    @click.option("--key", help="Function key; IMAGEDELTA_KEY, or that of the host started here, when absent.")
    @click.option("--json", "as_json", is_flag=True, help="Print the host's answer as one JSON line, last.")
    @functools.wraps(function)
    def run(*args: Any, url: str | None, key: str | None, **kwargs: Any) -> Any:
        return function(*args, api=Api(find_endpoint(url, key)), **kwargs)

    return run


def show_items(items: Iterable[Mapping[str, Any]], columns: Sequence[Column], as_json: bool) -> None:
    """A table for people, or {"items": […]} for programs."""
    rows = list(items)
    if as_json:
        click.echo(json.dumps({"items": rows}))
        return
    if not rows:
        click.echo("None.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, _ in columns:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(text_of(value(row)) for _, value in columns))
    Console(highlight=False, markup=False).print(table)


def show_one(item: Mapping[str, Any], columns: Sequence[Column], as_json: bool) -> None:
    """``name: value`` lines for people, without what is not known; the whole item for programs."""
    if as_json:
        click.echo(json.dumps(item))
        return
    rows = {heading: value(item) for heading, value in columns}
    width = max(map(len, rows))
    for heading, found in rows.items():
        if found is not None:
            click.echo(f"{heading:<{width}}  {text_of(found)}")


def field(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda item: item[name]


def image(name: str = "imageId") -> Callable[[Mapping[str, Any]], object]:
    """An image ID as people read it: the first 12 digits."""

    def short(item: Mapping[str, Any]) -> object:
        text = item[name]
        return str(text)[7:19] if str(text).startswith("sha256:") else text

    return short


def size(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda item: None if item[name] is None else bytes_text(item[name])


def when(name: str) -> Callable[[Mapping[str, Any]], object]:
    """A time of the interface as people read it: UTC, to the second."""
    return lambda item: item[name] and str(item[name])[:19].replace("T", " ")


def duration_text(hours: float | None) -> str | None:
    """``42 s``, ``12 min`` or ``3.5 h``."""
    if hours is None:
        return None
    seconds = hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{hours:.1f} h"


def bytes_text(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes everything")


def text_of(value: object) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def wait_for(
    look: Callable[[], dict[str, Any]],
    done: Callable[[Mapping[str, Any]], bool],
    *,
    timeout: float,
    seen: Callable[[Mapping[str, Any]], None],
    pause: float = 0.5,
) -> dict[str, Any]:
    """Look until ``done``; ``seen`` is told every change of state.

    Raises: DependencyError ``cli.timeout`` after ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    last: object = None
    while True:
        found = look()
        if found["state"] != last:
            last = found["state"]
            seen(found)
        if done(found):
            return found
        if time.monotonic() > end:
            raise DependencyError(f"still {last} after {timeout:.0f} seconds", code="cli.timeout")
        time.sleep(pause)
        pause = min(pause * 1.3, 5)
