"""The command that measures other kinds of programs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import click

from benchmarks.pairs import PAIRS, TOOLS, measure, table
from benchmarks.tools import our_program

_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--downloads", type=_PATH, default=Path(".downloads"), show_default=True, help="Keeps fetched packages.")
@click.option("--out", type=_PATH, required=True, help="Figures are added to this file as they come.")
@click.option("--only", default="", help="Part of the titles that are measured; all by default.")
@click.option("--tool", "tools", type=click.Choice(TOOLS), multiple=True, help="May be repeated; all by default.")
@click.option("--imagedelta", "program", default="", help="Our command line; the installed one by default.")
def pairs(downloads: Path, out: Path, only: str, tools: tuple[str, ...], program: str) -> None:
    """Measure two releases each of programs of other kinds, and print the table. pip and npm fetch them."""
    chosen = [pair for pair in PAIRS if only in pair.title]
    try:
        for figures in measure(chosen, tools or TOOLS, downloads.absolute(), program or our_program(), click.echo):
            with out.open("a") as stream:
                stream.write(json.dumps(figures) + "\n")
    except (subprocess.CalledProcessError, OSError) as error:
        raise click.ClickException(f"{error}: {getattr(error, 'stderr', '') or ''}") from error
    if out.exists():
        click.echo(table(out.read_text().splitlines()).markdown())
