"""Build the images, run the tools on them, report."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.building import build
from benchmarks.device_commands import device
from benchmarks.fleet_commands import fleet, fleet_report
from benchmarks.link_commands import link
from benchmarks.machine import available_memory_bytes, describe
from benchmarks.pair_commands import pairs
from benchmarks.ranking_commands import ranking, ranking_report
from benchmarks.reporting import NoMarkers, terminal, write_page, write_pictures
from benchmarks.results import OK, BadResults, Result, append, read
from benchmarks.running import Budget, run_all
from benchmarks.scenarios import CORPUS, GROWTH, SMALL, Placed, Scenario, placed
from benchmarks.tools import tools
from benchmarks.voyage_commands import voyage
from demo.wheels import WheelsUnavailable

_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)


@click.group(help=__doc__)
def main() -> None:
    """Commands of ``python -m benchmarks``."""


main.add_command(ranking)
main.add_command(ranking_report)
main.add_command(fleet)
main.add_command(fleet_report)
main.add_command(voyage)
main.add_command(link)
main.add_command(device)
main.add_command(pairs)


@main.command()
@click.argument("folder", type=_PATH)
@click.option("--downloads", type=_PATH, default=Path(".downloads"), show_default=True, help="Keeps fetched packages.")
@click.option("--growth", is_flag=True, help="Also the images that grow (4 GB).")
def images(folder: Path, downloads: Path, growth: bool) -> None:
    """Build the small image set into FOLDER: about a minute, no Docker, no root."""
    try:
        build(folder, downloads, growth=growth, report=click.echo)
    except WheelsUnavailable as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--images", "folder", type=_FOLDER, required=True, help="What `images` built.")
@click.option("--corpus", type=_FOLDER, help="Folder of the full corpus's tars.")
@click.option("--scenarios", default="", help="Names or sets (small, corpus, growth), with commas; all.")
@click.option("--tools", "names", default="", help="Names, with commas; all by default.")
@click.option("--out", type=_PATH, required=True, help="Results are added to this file as they come.")
@click.option("--imagedelta", "program", default="", help="Our command line; the installed one by default.")
@click.option("--memory-gb", type=float, help="What a command may take; 3/4 of what is free by default.")
@click.option("--timeout", type=float, default=3600, show_default=True, help="Seconds for one command.")
@click.option("--scratch", type=_FOLDER, help="Where patches and outputs lie meanwhile.")
@click.option("--resume", is_flag=True, help="What the file has figures of already is not measured again.")
def run(
    folder: Path,
    corpus: Path | None,
    scenarios: str,
    names: str,
    out: Path,
    program: str,
    memory_gb: float | None,
    timeout: float,
    scratch: Path | None,
    resume: bool,
) -> None:
    """Measure the tools side by side, one at a time."""
    known = tools(program)
    chosen = [known[name] for name in _named(names, list(known), "tool")]
    wanted = _wanted(scenarios)
    work = _found((*SMALL, *GROWTH), wanted, folder) + (_found(CORPUS, wanted, corpus) if corpus else [])
    memory = int(memory_gb * 1e9) if memory_gb else available_memory_bytes() * 3 // 4
    done = _measured(out) if resume else frozenset()
    append(out, "machine", describe(list(known.values())))
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        run_all(work, chosen, Budget(memory, timeout), Path(place), lambda result: _done(out, result), done)


@main.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--page", type=_PATH, help="Markdown page whose generated part is replaced, e.g. docs/benchmarks.md.")
@click.option("--pictures", type=_PATH, help="Folder that gets the pictures, as SVG.")
def report(results: Path, page: Path | None, pictures: Path | None) -> None:
    """Print the tables; with --page write them and the pictures there."""
    try:
        measured = read(results)
        click.echo(terminal(measured))
        if page:
            write_page(measured, page, page.with_suffix(""))
        if pictures:
            for path in write_pictures(measured, pictures):
                click.echo(f"picture: {path}")
    except (BadResults, NoMarkers) as error:
        raise click.ClickException(str(error)) from error


def _measured(out: Path) -> frozenset[tuple[str, str]]:
    """Scenario and tool of each figure in a file, if there is one."""
    try:
        results = read(out).results if out.exists() else ()
    except BadResults as error:
        raise click.ClickException(str(error)) from error
    return frozenset((result.scenario, result.tool) for result in results if result.status == OK)


def _wanted(text: str) -> set[str]:
    """Names of the scenarios asked for; a set's name stands for all of it."""
    sets = {"small": SMALL, "corpus": CORPUS, "growth": GROWTH}
    every = [scenario.name for scenarios in sets.values() for scenario in scenarios]
    asked = _named(text, [*sets, *every], "scenario")
    return {name for word in asked for name in ([s.name for s in sets[word]] if word in sets else [word])}


def _named(text: str, known: list[str], what: str) -> list[str]:
    """Raises: click.UsageError for a name that is not known."""
    asked = [name for name in text.split(",") if name]
    if wrong := [name for name in asked if name not in known]:
        raise click.UsageError(f"no {what} {', '.join(wrong)}; there are {', '.join(known)}")
    return asked or known


def _found(scenarios: tuple[Scenario, ...], wanted: set[str], folder: Path) -> list[Placed]:
    found, missing = placed([scenario for scenario in scenarios if scenario.name in wanted], folder)
    if missing:
        click.echo(f"not in {folder.name}, so left out: {', '.join(missing)}", err=True)
    return found


def _done(out: Path, result: Result) -> None:
    append(out, "result", result)
    if result.status == OK and result.build and result.bytes is not None:
        words = (
            f"{result.bytes:>12,} bytes {result.build.seconds:>8.1f} s {result.build.peak_rss_bytes / 1e6:>7,.0f} MB"
        )
    else:
        words = f"{result.status}: {result.reason}"
    click.echo(f"{result.scenario:<11} {result.tool:<11} {words}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
