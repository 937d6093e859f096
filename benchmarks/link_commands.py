"""The command that fetches a bundle over links that are cut, and says what it costs there."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.quiet import quiet
from benchmarks.tables import Table
from tests.simulators.blob_server import BlobServer
from tests.simulators.link_trial import LinkFigure, fetch_over
from tests.simulators.tcp_proxy import TcpProxy

GOAL = 1.02
_CUTS = (None, 10_000_000, 1_000_000, 100_000)


@click.command()
@click.option("--megabytes", type=click.IntRange(1, 1000), default=24, show_default=True, help="Size of the patch.")
@click.option("--seconds", type=float, default=600, show_default=True, help="That one fetch may take.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
@quiet(logging.CRITICAL)  # every cut would be a line
def link(megabytes: int, seconds: float, as_json: bool) -> None:
    """Fetch a bundle through a TCP proxy that cuts connections; fails where its bytes cost more than 1.02 times."""
    figures = [_measured(megabytes * 1_000_000, cut, seconds) for cut in _CUTS]
    if as_json:
        click.echo(json.dumps([_document(each) for each in figures]))
    else:
        click.echo(_table(figures).text())
    dear = [each for each in figures if each.body_ratio > GOAL]
    if dear:
        raise click.ClickException(f"{len(dear)} of {len(figures)} cost more than {GOAL} times the bundle")


def _measured(patch_bytes: int, cut_after: int | None, seconds: float) -> LinkFigure:
    with tempfile.TemporaryDirectory() as folder, BlobServer() as server, TcpProxy(server.address) as proxy:
        proxy.cut_after = cut_after
        return fetch_over(proxy, server, patch_bytes, Path(folder), seconds)


def _document(figure: LinkFigure) -> dict[str, float | int | None]:
    return asdict(figure) | {"body_ratio": figure.body_ratio, "link_ratio": figure.link_ratio}


def _table(figures: list[LinkFigure]) -> Table:
    rows = tuple(
        (
            "never" if each.cut_after is None else f"every {each.cut_after:,} bytes",
            f"{each.cuts:,}",
            f"{each.body_ratio:.4f}",
            f"{each.link_ratio:.4f}",
            f"{each.seconds:,.1f}",
        )
        for each in figures
    )
    title = f"A bundle of {figures[0].bundle_bytes:,} bytes over a link that is cut"
    return Table(title, ("cut", "cuts", "HTTP bodies / bundle", "all bytes / bundle", "s"), rows)
