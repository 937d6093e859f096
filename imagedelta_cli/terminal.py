"""The one door to stdout and stderr: what is said here is a line, and nothing in it can be an escape sequence."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import click

from imagedelta.printable import printable

_GIVEN_UP = "imagedelta.stdout_is_given_up"


def say(text: str = "", *, err: bool = False, bold: bool = False) -> None:
    """Print one line; wherever its words come from, it stays one and harms no terminal.

    Args:
        err: To stderr: a remark, not the result.
        bold: A heading; only terminals show it.
    """
    line = printable(text)
    click.echo(click.style(line, bold=True) if bold else line, err=err or _is_given_up())


def say_json(document: Mapping[str, Any]) -> None:
    """Print the result for programs: one line of ASCII, the last of stdout."""
    click.echo(json.dumps(document), err=_is_given_up())


def say_json_error(document: Mapping[str, Any]) -> None:
    """Print an error for programs: one line of ASCII, the last of stderr."""
    click.echo(json.dumps(document), err=True)


def say_lines(text: str) -> None:
    """Print a text of ours as it is: its lines and tabs are meant."""
    click.echo(text)


def columns_of_stdout() -> int | None:
    """Return how many columns the terminal has; ``None`` where stdout is none, so that lines may have any length."""
    stream = sys.stderr if _is_given_up() else sys.stdout
    return shutil.get_terminal_size().columns if stream.isatty() else None


def give_up_stdout() -> None:
    """From now on stdout carries the result's own bytes (``-o -``); what this command says goes to stderr."""
    click.get_current_context().meta[_GIVEN_UP] = True


def _is_given_up() -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_GIVEN_UP))
