"""Show who changed what, newest first."""

from __future__ import annotations

import click

from imagedelta_cli.api_client import Api
from imagedelta_cli.api_options import host_command, limit_option, show_items
from imagedelta_cli.cells import field, ident, when, word
from imagedelta_cli.tables import Column

_COLUMNS: tuple[Column, ...] = (
    ("AT", when("at")),
    ("WHO", field("who")),
    ("ACTION", word("action")),
    ("SUBJECT", ident("subject")),
    ("HOW", field("how")),
    ("DETAIL", field("detail")),
)


@click.command(help=__doc__)
@click.option("--who", help="Only by this person or key.")
@click.option("--action", help="Only this, e.g. set.start.")
@click.option("--subject", help="Only on this thing, e.g. a set's or device's id.")
@click.option("--from", "start", help="Only at this time or later: UTC, e.g. 2030-01-31T00:00:00Z.")
@click.option("--to", "end", help="Only before this time.")
@limit_option
@host_command
def command(
    api: Api,
    who: str | None,
    action: str | None,
    subject: str | None,
    start: str | None,
    end: str | None,
    limit: int,
    as_json: bool,
) -> None:
    wanted = {"who": who, "action": action, "subject": subject, "from": start, "to": end}
    show_items(api.pages("audit", most=limit, **wanted), _COLUMNS, as_json)
