"""A click group whose commands are the modules of a package, imported only when they are run.

``imagedelta_cli/commands/NAME.py`` holds ``command``, a click command or group; an underscore in the file's
name is a hyphen in the command's. The first line of the module's docstring is its help, read without
importing it, so that ``--help`` works where the libraries of some command are not installed.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import click

from imagedelta.errors import RequestError

_FIRST_PARTY = ("imagedelta", "imagedelta_cli", "imagedelta_host", "imagedelta_local")


class LazyGroup(click.Group):
    """The commands of ``package``, which lies in ``folder``."""

    def __init__(self, *, package: str, folder: Path, help: str) -> None:
        super().__init__(help=help)
        self._package = package
        self._folder = folder

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = (path.stem for path in self._folder.glob("*.py"))
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            module = importlib.import_module(f"{self._package}.{cmd_name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            raise _library_missing(cmd_name, error) from error
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 - a defect of ours, not input
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._first_line(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _first_line(self, name: str) -> str:
        source = (self._folder / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _library_missing(name: str, error: ModuleNotFoundError) -> Exception:
    library = (error.name or "").partition(".")[0]
    if library in _FIRST_PARTY:
        return error
    return RequestError(f"`imagedelta {name}` needs the library {library}", code="cli.library_missing")
