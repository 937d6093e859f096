"""Serve a function app on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from imagedelta_cli.app_database import upgrade_database


@click.group("host")
def command() -> None:
    """Serve a function app on this machine, without a cloud account."""


@command.command("start")
@click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of function_app.py; the current one unless given.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7071,
    show_default=True,
    envvar="IMAGEDELTA_PORT",
    help="0: any free port; IMAGEDELTA_PORT when absent.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".imagedelta/host"),
    show_default=True,
    help="Folder for keys, orchestrations, local hubs and blobs.",
)
def start(app: Path, port: int, state: Path) -> int:
    """Serve until Ctrl+C; what was under way goes on at the next start."""
    from imagedelta_host.server import serve
    from imagedelta_local.mount import open_local

    return serve(app, port, state, [open_local], prepare=upgrade_database)
