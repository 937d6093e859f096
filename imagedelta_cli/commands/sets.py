"""List deployment sets, and decide about single devices of one."""

from __future__ import annotations

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command, limit_option, show_items
from imagedelta_cli.set_orders import member_order, set_order
from imagedelta_cli.set_texts import LIST, MEMBERS


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command("list")
@click.option("--owner", help="Only of this owner, by mail address.")
@click.option("--state", help="Only in this state; open for all that have not ended.")
@click.option("--workstream", help="Only of this workstream.")
@click.option("--device", help="Only those that this device is a member of.")
@limit_option
@host_command
def list_(
    api: Api,
    owner: str | None,
    state: str | None,
    workstream: str | None,
    device: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List deployment sets, newest first."""
    wanted = {"owner": owner, "state": state, "workstream": workstream, "device": device}
    show_items(api.pages("deployment-sets", most=limit, **wanted), LIST, as_json)


@command.command("members")
@click.argument("set_id")
@click.option("--state", help="Only members in this state.")
@click.option("--device", help="Only this one.")
@limit_option
@host_command
def members(api: Api, set_id: str, state: str | None, device: str | None, limit: int, as_json: bool) -> None:
    """List the devices of a set, by id."""
    path = f"deployment-sets/{segment(set_id)}/members"
    show_items(api.pages(path, most=limit, state=state, device=device), MEMBERS, as_json)


command.add_command(set_order("promote", "Release to all devices after the canaries."))
command.add_command(
    member_order("exclude", "Go on without a device.", loses="It cannot come back into this set: order it anew.")
)
command.add_command(member_order("rebase", "Release over what someone else has set meanwhile."))
command.add_command(
    member_order(
        "skip", "Leave a device in conflict as it is.", loses="It cannot come back into this set: order it anew."
    )
)
