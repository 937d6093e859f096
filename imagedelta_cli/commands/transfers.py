"""See what is on its way to devices, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from imagedelta_cli.api_client import Api
from imagedelta_cli.api_options import host_command, limit_option, show_items
from imagedelta_cli.cells import counted, field, ident, image_text, size, when, word
from imagedelta_cli.tables import Cell, Column, Fit

_COLUMNS: tuple[Column, ...] = (
    ("TRANSFER", ident("transferId")),
    ("DEVICE", ident("deviceId")),
    ("REFERENCE", field("reference")),
    ("STATE", word("stage")),
    ("PLANNED", size("estimatedBytes")),
    ("BUNDLE", size("bundleBytes")),
    ("FULL", size("fullBytes")),
    ("CODE", field("code")),
    ("ATTEMPT", field("attempt")),
    ("UPDATED", when("updatedAt")),
)
_BUCKETS: tuple[Column, ...] = (
    ("FROM", when("bucketStart")),
    ("SUCCEEDED", field("succeeded")),
    ("FAILED", field("failed")),
    ("BYTES", size("bytes")),
)


def _named(image_id: str, references: Sequence[str]) -> object:
    return references[0] if references else image_text(image_id)


_PATCHES: tuple[Column, ...] = (
    ("PATCH", ident("patchId")),
    ("TARGET", Cell(lambda item: item["targetReferences"] or image_text(item["target"]))),
    ("SOURCES", Cell(lambda item: list(map(_named, item["sources"], item["sourceReferences"])) or "full", Fit.WHOLE)),
    ("STATE", word("state")),
    ("SIZE", size("bytes")),
    ("SECONDS", counted("seconds", lambda seconds: round(seconds, 1))),
    ("CODE", field("code")),
)


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command("list")
@click.option("--device", help="Only to this device.")
@click.option("--image", "image_id", help="Only of this image ID.")
@click.option("--state", help="Only in this state; in_transit for all that is under way.")
@click.option("--set", "set_id", help="Only those that this deployment set needs.")
@limit_option
@host_command
def list_(
    api: Api,
    device: str | None,
    image_id: str | None,
    state: str | None,
    set_id: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List transfers: one image to one device each."""
    wanted = {"device": device, "image": image_id, "state": state, "set": set_id}
    show_items(api.pages("transfers", most=limit, **wanted), _COLUMNS, as_json)


@command.command("timeseries")
@click.option("--bucket", type=click.Choice(["hour", "day", "week"]), default="day", show_default=True)
@click.option("--from", "start", help="UTC, e.g. 2030-01-31T00:00:00Z; 30 buckets before the end when absent.")
@click.option("--to", "end", help="UTC; now when absent.")
@click.option("--set", "set_id", help="Only what was sent for this deployment set.")
@click.option("--device", help="Only to this device.")
@click.option("--workstream", help="Only for sets of this workstream.")
@host_command
def timeseries(
    api: Api,
    bucket: str,
    start: str | None,
    end: str | None,
    set_id: str | None,
    device: str | None,
    workstream: str | None,
    as_json: bool,
) -> None:
    """Success, failure and bytes over time."""
    query = {"bucket": bucket, "from": start, "to": end, "set": set_id, "device": device, "workstream": workstream}
    show_items(api.get("transfers/timeseries", **query)["items"], _BUCKETS, as_json)


@command.command("patches")
@click.option("--state", help="Only in this state.")
@click.option("--target", help="Only to this image ID.")
@limit_option
@host_command
def patches(api: Api, state: str | None, target: str | None, limit: int, as_json: bool) -> None:
    """List patches, each built once for all devices that need it."""
    show_items(api.pages("patches", most=limit, state=state, target=target), _PATCHES, as_json)
