"""What every command that talks to a host shares: its options, its answers, waiting."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from imagedelta.errors import DependencyError, ImageDeltaError
from imagedelta_cli import exits
from imagedelta_cli.api_client import Api, find_endpoint
from imagedelta_cli.output import say_pairs, say_table
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say, say_json

limit_option = click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="Items at most.")


timeout_option = click.option("--timeout", default=3600.0, show_default=True, help="Seconds to wait.")
exit_code_option = click.option(
    "--exit-code", is_flag=True, help="Tell by the exit code how it stands: 6 a person must act, 7 already there, …"
)

_UNANSWERED_SECONDS = 300.0
Tell = Callable[[Mapping[str, Any]], None]


class UnfitAnswer(ImageDeltaError):
    """An answer lacks a field that a command shows, or has another kind of value there."""

    code = "cli.old_host"


def host_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --url, --key and --audience; it receives ``connect``, which finds the host when it is called."""

    @click.option("--url", help="Address of the host; IMAGEDELTA_URL, or the host started here, when absent.")
    @click.option("--key", help="Function key; IMAGEDELTA_KEY, or that of the host started here, when absent.")
    @click.option(
        "--audience", help="Instead of a key, sign in with Entra ID: api://CLIENT-ID; or IMAGEDELTA_AUDIENCE."
    )
    @functools.wraps(function)
    def run(*args: Any, url: str | None, key: str | None, audience: str | None, **kwargs: Any) -> Any:
        asked: list[Api] = []

        def connect() -> Api:
            asked.append(Api(find_endpoint(url, key, audience)))
            return asked[0]

        try:
            return function(*args, connect=connect, **kwargs)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if not asked:
                raise
            detail = f"{asked[0].endpoint.url} gave an answer that does not fit: {type(error).__name__}: {error}"
            raise UnfitAnswer(detail) from error

    return run


def host_command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --url, --key, --audience and --json; it receives ``api`` and ``as_json``."""

    @click.option("--json", "as_json", is_flag=True, help="Print the host's answer as one JSON line, last.")
    @host_options
    @functools.wraps(function)
    def run(*args: Any, connect: Callable[[], Api], **kwargs: Any) -> Any:
        return function(*args, api=connect(), **kwargs)

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


class StillUnderWay(DependencyError):
    """What was waited for is not over; it goes on."""

    code = "cli.timeout"
    exit_code = exits.STILL_UNDER_WAY


def tell_changes(words: Callable[[Mapping[str, Any]], str]) -> Tell:
    """Say on stderr what ``words`` makes of a thing, whenever that is news."""
    last = ""

    def tell(found: Mapping[str, Any]) -> None:
        nonlocal last
        if (told := words(found)) != last:
            last = told
            say(told, err=True)

    return tell


def wait_for(
    look: Callable[[], dict[str, Any]],
    done: Callable[[Mapping[str, Any]], bool],
    *,
    timeout: float,
    tell: Tell,
    pause: float = 0.5,
) -> dict[str, Any]:
    """Look until ``done``, and ``tell`` what is seen at each look. A host that does not answer for a while, as when its
    app is deployed anew, ends nothing.

    Raises: StillUnderWay after ``timeout`` seconds; DependencyError when the host has not answered for five minutes, or
        does not when the time is over.
    """
    end = time.monotonic() + timeout
    answered = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            found = look()
        except ImageDeltaError as error:
            if not error.retryable or now >= end or now - answered >= _UNANSWERED_SECONDS:
                raise
            say(f"{error}; looking again", err=True)
        else:
            answered = now
            tell(found)
            if done(found):
                return found
            if now >= end:
                raise StillUnderWay(f"still {found['state']} after {timeout:.0f} seconds")
        time.sleep(max(0.0, min(pause, end - time.monotonic())))
        pause = min(pause * 1.3, 5)
