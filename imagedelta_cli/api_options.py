"""What every command that talks to a host shares: its options, its answers, waiting."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from imagedelta.errors import DependencyError
from imagedelta_cli.api_client import Api, find_endpoint
from imagedelta_cli.output import say_pairs, say_table
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say, say_json

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
        say_json({"items": rows})
    elif rows:
        say_table(rows, columns)
    else:
        say("None.")


def show_one(item: Mapping[str, Any], columns: Sequence[Column], as_json: bool) -> None:
    """``name: value`` lines for people, without what is not known; the whole item for programs."""
    if as_json:
        say_json(item)
        return
    known = {heading: value for heading, cell in columns if (value := cell.value(item)) is not None}
    say_pairs(known, width=max(len(heading) for heading, _ in columns))


def wait_for(
    look: Callable[[], dict[str, Any]],
    done: Callable[[Mapping[str, Any]], bool],
    *,
    timeout: float,
    tell: Callable[[Mapping[str, Any]], str],
    pause: float = 0.5,
) -> dict[str, Any]:
    """Look until ``done``; what ``tell`` says is said whenever it is news.

    Raises: DependencyError ``cli.timeout`` after ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    last = ""
    while True:
        found = look()
        if (told := tell(found)) != last:
            last = told
            say(told, err=True)
        if done(found):
            return found
        if time.monotonic() > end:
            raise DependencyError(f"still {found['state']} after {timeout:.0f} seconds", code="cli.timeout")
        time.sleep(pause)
        pause = min(pause * 1.3, 5)
