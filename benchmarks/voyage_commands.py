"""The command that takes a simulated fleet from order to last mail, and judges what came of it."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.quiet import quiet
from benchmarks.tables import Table
from tests.simulators.fleet_landfall import document, faults, per_device_and_year
from tests.simulators.fleet_voyage import DEATHS, TROUBLES, Voyage

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of the command's own is made in it
_SETS_A_YEAR = 12
_SHOWN = 40


@click.command()
@click.option("--devices", type=click.IntRange(len(TROUBLES)), default=10_000, show_default=True)
@click.option("--deaths", type=click.IntRange(0), default=DEATHS, show_default=True, help="Of the host.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of chance: which links are up, where it dies.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables.")
@click.option(
    "--scratch",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where files lie; in memory where the system has a folder for that, for each of 100,000 blobs is synced.",
)
@quiet(logging.CRITICAL)  # a host that dies all the time has much to say
def voyage(devices: int, deaths: int, seed: int, as_json: bool, scratch: Path | None) -> None:
    """Deploy five images to a simulated fleet in trouble; fails when anything was lost, done twice or got stuck."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=scratch or (_MEMORY if _MEMORY.is_dir() else None)) as place:
        under_way = Voyage(devices, Path(place), seed=seed, deaths=deaths)
        try:
            under_way.sail(lambda line: click.echo(f"{time.monotonic() - began:>6,.0f} s  {line}", err=True))
            found = faults(under_way)
            told = document(under_way) | {"wallSeconds": round(time.monotonic() - began, 1), "faults": found}
        finally:
            under_way.close()
    if as_json:
        click.echo(json.dumps(told))
    else:
        for line in _told(told):
            click.echo(line)
    if found:
        raise click.ClickException(f"{len(found)} faults")


def _told(of: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{of['devices']:,} devices x {of['images']} images, {of['days']} days in {of['wallSeconds']:,.0f} s: "
        f"{of['patches']} patches, {of['bundles']:,} bundles, {of['messages']:,} messages, "
        f"the host killed {of['deaths']} times in {of['operations']:,} operations\n"
    )
    states = sorted({state for by_state in of["members"].values() for state in by_state})
    rows = tuple(
        (trouble, *(str(by_state.get(state, "")) for state in states)) for trouble, by_state in of["members"].items()
    )
    yield Table("What became of the members", ("trouble", *states), rows).text()
    phases = tuple((name, f"{of['seconds'][name]:,.1f}", f"{of['cpuSeconds'][name]:,.1f}") for name in of["seconds"])
    yield Table("Where the time went", ("phase", "s", "CPU s"), phases).text()
    yield sizes(of["tableBytes"], of["devices"]).text()
    yield "Mails\n" + "\n".join(f"  {subject}" for subject in of["mails"]) + "\n"
    yield from (f"FAULT {fault}" for fault in of["faults"][:_SHOWN])
    yield "nothing lost, nothing twice, no set stuck" if not of["faults"] else ""


def sizes(tables: Mapping[str, int], devices: int) -> Table:
    """Bytes of what grows with the fleet, also for a device that gets a set of five images every month."""
    by_year = per_device_and_year(tables, devices, _SETS_A_YEAR)
    rows = [(name, f"{tables[name]:,}", f"{tables[name] / devices:,.0f}", f"{by_year[name]:,.0f}") for name in by_year]
    total = sum(tables[name] for name in by_year)
    rows.append(("all of these", f"{total:,}", f"{total / devices:,.0f}", f"{sum(by_year.values()):,.0f}"))
    header = ("table with its indexes", "bytes", "a device", "a device and year")
    return Table(f"The database, and {_SETS_A_YEAR} such sets a year", header, tuple(rows))
