"""Start a deployment set: images to devices; with --wait until it has ended."""

from __future__ import annotations

from typing import Any

import click

from imagedelta_cli.api_client import Api
from imagedelta_cli.api_options import exit_code_option, host_command, timeout_option
from imagedelta_cli.orders import order_options
from imagedelta_cli.watching import show_set, watch_set


@click.command(help=__doc__)
@order_options
@click.option("--wait", is_flag=True, help="Wait until it has ended, as status --watch does.")
@timeout_option
@exit_code_option
@host_command
def command(api: Api, order: dict[str, Any], wait: bool, timeout: float, exit_code: bool, as_json: bool) -> int:
    started = api.post("deployment-sets", order)
    if wait:
        return watch_set(api, started["setId"], (), timeout, exit_code, as_json)
    return show_set(started, exit_code, as_json)
