"""Show device messages that could not be taken, counted by sender and reason, last heard of first."""

from __future__ import annotations

import click

from imagedelta_cli.api_client import Api
from imagedelta_cli.api_options import host_command, limit_option, show_items
from imagedelta_cli.cells import field, sentence, when, word
from imagedelta_cli.tables import Column

_COLUMNS: tuple[Column, ...] = (
    ("LAST", when("at")),
    ("COUNT", field("count")),
    ("HUB", field("hub")),
    ("DEVICE", field("deviceId")),
    ("MODULE", field("moduleId")),
    ("REASON", word("reason")),
    ("FIRST", when("firstAt")),
    ("DETAIL", sentence("detail")),
)


@click.command(help=__doc__)
@limit_option
@host_command
def command(api: Api, limit: int, as_json: bool) -> None:
    show_items(api.pages("quarantine", most=limit), _COLUMNS, as_json)
