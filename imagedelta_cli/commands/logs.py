"""Tell everything that happened to a set, a transfer or a device, oldest first; with --follow what happens next."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command, limit_option, show_items
from imagedelta_cli.cells import field, sentence, when
from imagedelta_cli.outcomes import ENDED
from imagedelta_cli.output import say_table
from imagedelta_cli.stopping import when_stopped
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say_json

_EVENTS: tuple[Column, ...] = (
    ("AT", when("at")),
    ("KIND", field("kind")),
    ("SUBJECT", field("subject")),
    ("FROM", field("old")),
    ("TO", field("new")),
    ("BY", field("who")),
    ("CODE", field("code")),
    ("DETAIL", sentence("detail")),
)
_HISTORY: tuple[Column, ...] = (
    ("AT", when("at")),
    ("TRANSFER", field("transferId")),
    ("ATTEMPT", field("attempt")),
    ("FROM", field("old")),
    ("TO", field("new")),
    ("BY", field("source")),
    ("CODE", field("code")),
    ("DETAIL", sentence("detail")),
)
_TRANSFERS = 20
"""Newest transfers of a device whose histories are told."""
_PAUSE = 3.0
_PAGE = 500


@click.command(help=__doc__)
@click.argument("set_id", required=False)
@click.option("--transfer", "transfer_id", help="Instead of a set: of this transfer.")
@click.option("--device", "device_id", help="Instead of a set: of the newest 20 transfers to this device.")
@click.option("--follow", is_flag=True, help="Of a set: go on until it has ended; with --json a line for each event.")
@limit_option
@host_command
def command(
    api: Api,
    set_id: str | None,
    transfer_id: str | None,
    device_id: str | None,
    follow: bool,
    limit: int,
    as_json: bool,
) -> None:
    if sum(map(bool, (set_id, transfer_id, device_id))) != 1:
        raise click.UsageError("Name one: a SET_ID, --transfer or --device.")
    if follow and set_id is None:
        raise click.UsageError("--follow goes with a SET_ID.")
    if set_id and follow:
        _follow(api, set_id, as_json)
    elif set_id:
        show_items(api.pages(_events(set_id), most=limit), _EVENTS, as_json)
    else:
        ids = [transfer_id] if transfer_id else _transfers(api, str(device_id))
        told = chain.from_iterable(_history(api, each) for each in ids)
        show_items(sorted(told, key=lambda event: str(event["at"]))[:limit], _HISTORY, as_json)


def _events(set_id: str) -> str:
    return f"deployment-sets/{segment(set_id)}/events"


def _transfers(api: Api, device_id: str) -> list[str]:
    api.get(f"devices/{segment(device_id)}")  # one that is not enrolled is an error, not silence
    return [item["transferId"] for item in api.pages("transfers", most=_TRANSFERS, device=device_id)]


def _history(api: Api, transfer_id: str) -> Iterable[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = api.get(f"transfers/{segment(transfer_id)}/history")["items"]
    return items


def _follow(api: Api, set_id: str, as_json: bool) -> None:
    with when_stopped(f"The set goes on without you: imagedelta status {set_id}"):
        for events in _news(api, set_id):
            if as_json:
                for event in events:
                    say_json(event)
            elif events:
                say_table(events, _EVENTS)


def _news(api: Api, set_id: str) -> Iterator[list[Mapping[str, Any]]]:
    """What is new at each look. The set is looked at first: what ended it is among the events by then."""
    after: str | None = None
    told = 0
    while True:
        ended = api.get(f"deployment-sets/{segment(set_id)}")["state"] in ENDED
        while True:
            page = api.get(_events(set_id), limit=_PAGE, after=after)
            yield page["items"][told:]
            told = len(page["items"])
            if page["next"] is None or not page["items"]:
                break
            after, told = page["next"], 0
        if ended:
            return
        time.sleep(_PAUSE)
