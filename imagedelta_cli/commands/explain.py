"""Say why a device does not get what was ordered, since when, and who must act next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command
from imagedelta_cli.explaining import Finding, explain
from imagedelta_cli.outcomes import ENDED
from imagedelta_cli.terminal import say, say_json

_TRANSFERS = 200
"""Newest that are looked at."""
_SETS = 100
_LOOKED_INTO = 10
"""Sets of which the member is asked for: the open ones, and the newest of each workstream."""


@click.command(help=__doc__)
@click.argument("device_id")
@host_command
def command(api: Api, device_id: str, as_json: bool) -> None:
    device = api.get(f"devices/{segment(device_id)}")
    transfers = list(api.pages("transfers", most=_TRANSFERS, device=device_id))
    found = explain(device, transfers, [_with_member(api, one, device_id) for one in _sets(api, device_id)])
    stuck = any(finding.stuck for finding in found)
    if as_json:
        say_json({"device": device_id, "stuck": stuck, "findings": [asdict(finding) for finding in found]})
        return
    say(f"{device_id} is {'stuck' if stuck else 'not stuck'}.", bold=True)
    for finding in found:
        for line in _lines(finding):
            say(line)


def _sets(api: Api, device_id: str) -> Iterator[str]:
    seen: set[str] = set()
    chosen = 0
    for item in api.pages("deployment-sets", most=_SETS, device=device_id):
        if item["state"] not in ENDED or item["workstream"] not in seen:
            yield item["setId"]
            chosen += 1
        seen.add(item["workstream"])
        if chosen == _LOOKED_INTO:
            return


def _with_member(api: Api, set_id: str, device_id: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    path = f"deployment-sets/{segment(set_id)}"
    (member,) = api.get(f"{path}/members", device=device_id)["items"]
    return api.get(path), member


def _lines(finding: Finding) -> Iterator[str]:
    yield ""
    yield finding.what
    told = {
        "since": finding.since and finding.since[:19].replace("T", " "),
        "code": finding.code,
        "next": finding.actor,
        "what to do": finding.remedy,
        "command": finding.command,
    }
    yield from (f"  {name:<10}  {value}" for name, value in told.items() if value)
