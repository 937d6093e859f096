"""Say what a set would move, per device: bytes, hours on its link, money; nothing is stored or sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from imagedelta_cli import exits
from imagedelta_cli.api_client import Api
from imagedelta_cli.api_options import exit_code_option, host_command, show_items
from imagedelta_cli.orders import order_options
from imagedelta_cli.outcomes import outcome_of_plan
from imagedelta_cli.output import progress
from imagedelta_cli.set_texts import PLAN, plan_remarks, plan_rows
from imagedelta_cli.terminal import say, say_json


@click.command(help=__doc__)
@order_options
@click.option("--all", "every", is_flag=True, help="Show all devices, not only the first.")
@exit_code_option
@host_command
def command(api: Api, order: dict[str, Any], every: bool, exit_code: bool, as_json: bool) -> int:
    with progress("Planning the set"):
        planned = api.post("deployment-sets", order, dryRun="true")
        if every:
            rest = [device for page in _further(api, order, planned["next"]) for device in page]
            planned = {**planned, "devices": [*planned["devices"], *rest], "next": None}
    outcome = outcome_of_plan(planned)
    if as_json:
        say_json({**planned, "outcome": outcome})
    else:
        show_items(plan_rows(planned), PLAN, as_json=False)
        say()
        for line in plan_remarks(planned):
            say(line)
    return outcome.exit_code if exit_code else exits.DONE


def _further(api: Api, order: dict[str, Any], after: str | None) -> Iterator[list[Any]]:
    """The devices of each further page; a host that names the same one again has no more."""
    last = None
    while after and after != last:
        page = api.post("deployment-sets", order, dryRun="true", after=after)
        yield page["devices"]
        last, after = after, page["next"]
