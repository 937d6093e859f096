"""Show how the deployment does and its open sets; or one set, and watch it with --watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from imagedelta_cli import exits
from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import exit_code_option, host_command, show_items, show_one, timeout_option
from imagedelta_cli.cells import field
from imagedelta_cli.set_texts import LIST, MEMBERS, remarks
from imagedelta_cli.tables import Cell, Column
from imagedelta_cli.terminal import say, say_json
from imagedelta_cli.watching import show_set, watch_set

_SHOWN = 20
"""Members that are shown with their set."""
_LISTED = 500
"""Open sets."""
_HEALTH: tuple[Column, ...] = (
    ("status", field("status")),
    ("version", field("version")),
    ("checks", field("checks")),
    ("late work", Cell(lambda item: [name for name, work in item["work"].items() if work["late"]] or None)),
    ("devices", field("devices")),
    ("what to do", Cell(lambda item: item["remedies"] or None)),
)


@click.command(help=__doc__)
@click.argument("set_id", required=False)
@click.option("--watch", is_flag=True, help="Until it has ended, or is in a state of --until.")
@click.option("--until", multiple=True, help="With --watch: stop at this state too, with exit code 0.")
@timeout_option
@exit_code_option
@host_command
def command(
    api: Api,
    set_id: str | None,
    watch: bool,
    until: tuple[str, ...],
    timeout: float,
    exit_code: bool,
    as_json: bool,
) -> int:
    if until and not watch:
        raise click.UsageError("--until goes with --watch.")
    if set_id is None:
        if watch or exit_code:
            raise click.UsageError("Name the set that is to be watched.")
        return _overview(api, as_json)
    if watch:
        return watch_set(api, set_id, until, timeout, exit_code, as_json)
    return _one(api, set_id, exit_code, as_json)


def _one(api: Api, set_id: str, exit_code: bool, as_json: bool) -> int:
    path = f"deployment-sets/{segment(set_id)}"
    found = api.get(path)
    code = show_set(found, exit_code, as_json)
    if not as_json:
        for line in remarks(found):
            say(line)
        say()
        show_items(api.pages(f"{path}/members", most=_SHOWN), MEMBERS, as_json=False)
        if (more := sum(found["memberStates"].values()) - _SHOWN) > 0:
            say(f"{more:,} more: imagedelta sets members {set_id} --limit {more + _SHOWN}")
    return code


def _overview(api: Api, as_json: bool) -> int:
    """Health, and the sets that have not ended; with exit code 1 only where health itself is refused."""
    health = api.health()
    is_there = health["status"] != "unavailable"
    sets: list[Mapping[str, Any]] = []
    if is_there:
        sets = list(api.pages("deployment-sets", most=_LISTED, state="open"))
    if as_json:
        say_json({**health, "openSets": sets})
    else:
        show_one(health, _HEALTH, as_json=False)
        say()
        show_items(sets, LIST, as_json=False)
    return exits.DONE if is_there else exits.UNAVAILABLE
