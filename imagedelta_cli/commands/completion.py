"""Print what makes a shell complete commands and options: bash, zsh or fish."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from imagedelta_cli.terminal import say_lines

_SHELLS = ("bash", "zsh", "fish")


@click.command(help=__doc__)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click has these three
    say_lines(found(context.find_root().command, {}, "imagedelta", "_IMAGEDELTA_COMPLETE").source())
