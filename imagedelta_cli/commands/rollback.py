"""Start a new set with what the devices ran before SET_ID."""

from __future__ import annotations

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command, show_one
from imagedelta_cli.set_texts import DETAILS


@click.command(help=__doc__)
@click.argument("set_id")
@click.option("--name", help="Of the new set.")
@host_command
def command(api: Api, set_id: str, name: str | None, as_json: bool) -> None:
    body = {"name": name} if name else {}
    show_one(api.post(f"deployment-sets/{segment(set_id)}/rollback", body), DETAILS, as_json)
