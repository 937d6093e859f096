"""What a person orders of a set or of one of its devices: one request, and the answer as it is by then."""

from __future__ import annotations

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command, show_one
from imagedelta_cli.asking import confirmed, yes_option
from imagedelta_cli.cells import field
from imagedelta_cli.set_texts import DETAILS
from imagedelta_cli.tables import Column

_MEMBER: tuple[Column, ...] = (
    ("device", field("deviceId")),
    ("state", field("state")),
    ("code", field("code")),
    ("detail", field("detail")),
)


def set_order(name: str, help_text: str, loses: str = "") -> click.Command:
    """``imagedelta … NAME SET_ID``.

    Args:
        loses: What cannot be undone; then it is asked first.
    """

    @click.argument("set_id")
    @host_command
    def order(api: Api, set_id: str, as_json: bool, yes: bool = True) -> None:
        confirmed(f"{name} {set_id}", loses, yes)
        show_one(api.post(f"deployment-sets/{segment(set_id)}/{name}"), DETAILS, as_json)

    return click.command(name, help=help_text)(yes_option(order) if loses else order)


def member_order(name: str, help_text: str, loses: str = "") -> click.Command:
    """``imagedelta … NAME SET_ID DEVICE_ID``; see ``set_order``."""

    @click.argument("set_id")
    @click.argument("device_id")
    @host_command
    def order(api: Api, set_id: str, device_id: str, as_json: bool, yes: bool = True) -> None:
        confirmed(f"{name} {device_id} of {set_id}", loses, yes)
        path = f"deployment-sets/{segment(set_id)}/members/{segment(device_id)}/{name}"
        show_one(api.post(path), _MEMBER, as_json)

    return click.command(name, help=help_text)(yes_option(order) if loses else order)
