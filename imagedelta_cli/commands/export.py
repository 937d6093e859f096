"""Fetch a device's bundles into a folder, e.g. of a USB stick, to carry them into its inbox by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command
from imagedelta_cli.carrying import SUMS, bring, file_name, prepare_folder, write_sums
from imagedelta_cli.cells import field, size
from imagedelta_cli.output import progress, say_table
from imagedelta_cli.stopping import when_stopped
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say, say_json

_COLUMNS: tuple[Column, ...] = (("FILE", field("file")), ("REFERENCE", field("reference")), ("SIZE", size("bytes")))


@click.command(help=__doc__)
@click.argument("device_id")
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the bundles and their list SHA256SUMS; what is there already is kept.",
)
@host_command
def command(api: Api, device_id: str, folder: Path, as_json: bool) -> None:
    found = api.post(f"devices/{segment(device_id)}/export")
    names = [file_name(item["bundle"]) for item in found["bundles"]]
    prepare_folder(folder, names)
    bundles: list[dict[str, Any]] = []
    with when_stopped(f"{folder} holds whole bundles and no {SUMS} yet: the same command goes on."):
        for name, item in zip(names, found["bundles"], strict=True):
            with progress(f"Fetching {item['reference']}") as report:
                digest = bring(api.download(), item, folder / name, report)
            bundles.append(
                {
                    "file": name,
                    "bytes": item["bundleBytes"],
                    "sha256": digest,
                    "reference": item["reference"],
                    "transferId": item["transferId"],
                }
            )
        write_sums(folder, {bundle["file"]: bundle["sha256"] for bundle in bundles})
    if as_json:
        not_ready = found["notReady"]
        say_json({"device": device_id, "folder": str(folder), "bundles": bundles, "notReady": not_ready})
        return
    if bundles:
        say_table(bundles, _COLUMNS)
        say(f"Copy them into the device's inbox; {SUMS} is for `sha256sum -c`.")
    else:
        say("Nothing lies ready for this device.")
    for item in found["notReady"]:
        say(f"Not in the folder: {item['reference']} is {item['stage']}.")
