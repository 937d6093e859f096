"""The command that updates a device with each engine, beside a docker pull of the same update."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

import click
import pytest

from benchmarks.device_figures import DeviceFigure, document, table
from benchmarks.device_images import make_update
from benchmarks.device_trials import WrongImage, measure_all

_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)


@click.command()
@click.option("--megabytes", type=click.IntRange(21), default=400, show_default=True, help="Size of the image.")
@click.option(
    "--json", "as_json", is_flag=True, help="A line of JSON for each update instead of a table, as they come."
)
@click.option("--markdown", is_flag=True, help="The table as Markdown.")
@click.option("--scratch", type=_FOLDER, help="Where everything lies meanwhile, on a disk; its path is short.")
def device(megabytes: int, as_json: bool, markdown: bool, scratch: Path | None) -> None:
    """Update an image of which one small layer is new on a device: with docker pull, and with every engine.

    Needs root, and the Debian packages docker.io and docker-registry.
    """
    logging.disable(logging.WARNING)
    figures: list[DeviceFigure] = []
    with tempfile.TemporaryDirectory(prefix="device-", dir=scratch, ignore_cleanup_errors=True) as folder:
        try:
            for figure in measure_all(make_update(megabytes, Path(folder)), Path(folder), _tell):
                figures.append(figure)
                if as_json:
                    click.echo(json.dumps(document(figure, figures[0])))
        except (pytest.fail.Exception, WrongImage) as error:  # what a real part of the tests lacks
            raise click.ClickException(str(error)) from error
    if not as_json:
        title = f"An image of {megabytes} MB, one layer of 20 MB new"
        made = table(title, figures[1:], figures[0])
        click.echo(made.markdown() if markdown else made.text())


def _tell(step: str) -> None:
    click.echo(step, err=True)
