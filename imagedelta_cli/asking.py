"""What cannot be undone is asked first: a person at a terminal answers, anything else says ``--yes``."""

from __future__ import annotations

import sys

import click

from imagedelta.errors import RequestError
from imagedelta.printable import printable

yes_option = click.option("--yes", is_flag=True, help="Do not ask: what it ends cannot be undone.")


def confirmed(what: str, loses: str, yes: bool) -> None:
    """Return once a person wants it.

    Args:
        what: The command in words, e.g. ``cancel set-1``.
        loses: What cannot be undone; "" for what can.

    Raises: RequestError ``cli.not_confirmed`` for a no, and where nobody can be asked.
    """
    if yes or not loses:
        return
    question = f"{what}: {loses} Go on?"
    if not sys.stdin.isatty():
        raise RequestError(f"{what} cannot be undone, and there is no terminal to ask at", code="cli.not_confirmed")
    if not click.confirm(printable(question), err=True):
        raise RequestError(f"{what} was not confirmed: nothing was done", code="cli.not_confirmed")
