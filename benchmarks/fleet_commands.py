"""The commands that measure how the cloud side grows with the fleet."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

import click

from benchmarks.fleet_life import CHAPTERS, FleetLife
from benchmarks.fleet_meter import Cost
from benchmarks.fleet_report import details, picture, read, table
from benchmarks.quiet import quiet
from benchmarks.results import BadResults

_PATH = click.Path(path_type=Path)
_FILE = click.Path(dir_okay=False, exists=True, path_type=Path)


@click.command()
@click.option("--devices", "sizes", default="500,2000", show_default=True, help="Sizes of fleets, with commas.")
@click.option("--until", default="", type=click.Choice(["", *CHAPTERS]), help="Chapter to stop after; all by default.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each step and size, as they come.")
@click.option("--scratch", type=click.Path(file_okay=False, exists=True, path_type=Path), help="Where databases lie.")
@quiet(logging.WARNING)  # a fleet in which everything fails on purpose
def fleet(sizes: str, until: str, as_json: bool, scratch: Path | None) -> None:
    """Measure what a deployment of five images costs the cloud, from enrolling to a set that fails everywhere."""
    costs: list[Cost] = []

    def done(cost: Cost) -> None:
        costs.append(cost)
        if as_json:
            click.echo(json.dumps(cost.document()))
        else:
            click.echo(f"{cost.devices:>7,} devices  {cost.step:<28} {cost.cpu_seconds:>10,.2f} CPU s", err=True)

    for size in _sizes(sizes):
        with tempfile.TemporaryDirectory(dir=scratch) as place:
            FleetLife(size, Path(place), done).live(until)
    if not as_json:
        click.echo(table(costs).text())
        click.echo(details(costs).text())


@click.command("fleet-report")
@click.argument("measured", type=_FILE)
@click.option("--picture", "drawn", type=_PATH, help="SVG file of the cost of one item against the fleet's size.")
@click.option("--markdown", is_flag=True, help="Tables as Markdown.")
def fleet_report(measured: Path, drawn: Path | None, markdown: bool) -> None:
    """Print the tables of what `fleet --json` wrote."""
    try:
        costs = read(measured)
    except BadResults as error:
        raise click.ClickException(str(error)) from error
    for made in (table(costs), details(costs)):
        click.echo(made.markdown() if markdown else made.text())
    if drawn:
        drawn.parent.mkdir(parents=True, exist_ok=True)
        drawn.write_text(picture(costs), "utf-8")


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(word) for word in text.split(",") if word]
    except ValueError:
        raise click.UsageError(f"--devices takes numbers with commas, not {text!r}") from None
    if not sizes or min(sizes) < 2:
        raise click.UsageError("--devices takes sizes of 2 and more")
    return sorted(set(sizes))
