"""Bring the database of the function app to the schema that its version needs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from imagedelta.errors import RequestError
from imagedelta_cli.app_database import upgrade_database
from imagedelta_cli.options import json_option
from imagedelta_cli.output import emit
from imagedelta_host.settings import apply_local_settings

_PLACES = ("IMAGEDELTA_DATABASE_URL", "IMAGEDELTA_BLOBS_DIR", "LOCAL_BLOBS_DIR")
"""The first names the database; without it, it is a file beside the blobs."""


@click.group("db", help=__doc__)
def command() -> None:
    pass


@command.command("upgrade")
@click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of function_app.py, in the version that is deployed; the current one unless given.",
)
@json_option
def upgrade(app: Path, as_json: bool) -> None:
    """Upgrade the database that IMAGEDELTA_DATABASE_URL names: once for each deployment, before the app starts.

    The login needs the right to change the schema, which the app's own does not. One process upgrades at a time, all
    or nothing; a database that is up to date stays as it is.
    """
    apply_local_settings(app, os.environ)
    if not any(os.environ.get(place) for place in _PLACES):
        raise RequestError(
            f"{_PLACES[0]} is not set: a host that makes its own database brings it up to date when it starts",
            code="cli.no_database",
        )
    revision = upgrade_database(app)
    if revision is None:
        raise RequestError(f"the app in {app.resolve()} has no database_upgrade.py", code="cli.no_database")
    emit({"schema": revision}, as_json)
