"""Say what makes the update from OLD to NEW dear, and how to build the image better; with --max-bytes a gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from imagedelta.delta.encode.costs import FileCost, file_costs
from imagedelta.delta.encode.plan import Choice
from imagedelta_cli.advice import Advice, advise
from imagedelta_cli.api_client import Api
from imagedelta_cli.api_options import host_options
from imagedelta_cli.cells import field, size
from imagedelta_cli.fleet_costs import OverLimit, advise_fleet, is_over
from imagedelta_cli.images import UnpackedImage, unpacker
from imagedelta_cli.options import image_options, json_option
from imagedelta_cli.output import emit, progress, say_table
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say

_LAYERS: tuple[Column, ...] = (
    ("LAYER", field("layer")),
    ("SIZE", size("size")),
    ("REBUILT", field("rebuilt")),
    ("SAME", field("same")),
    ("CHANGED", field("changed")),
    ("NEW", field("new")),
    ("ABOUT", size("bytes")),
)
_FILES: tuple[Column, ...] = (
    ("ABOUT", size("bytes")),
    ("SIZE", size("size")),
    ("LAYER", field("layer")),
    ("PATH", field("path")),
    ("FROM", field("from")),
)


@click.command(help=__doc__)
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option(
    "--fleet", metavar="NAME:TAG", help="Instead: what this registered image would cost the devices there are."
)
@click.option("--max-bytes", type=click.IntRange(0), help="Exit code 8 when the dearest update is estimated above it.")
@click.option("--top", default=15, show_default=True, type=click.IntRange(1), help="How many files to list.")
@host_options
@image_options
@json_option
def command(
    connect: Callable[[], Api],
    old: str | None,
    new: str | None,
    fleet: str | None,
    max_bytes: int | None,
    top: int,
    scratch: Path | None,
    as_json: bool,
) -> None:
    if fleet is None and old is not None and new is not None:
        dearest = _two_images(old, new, max_bytes, top, scratch, as_json)
    elif fleet is not None and old is None:
        dearest = advise_fleet(connect(), fleet, max_bytes, as_json)
    else:
        raise click.UsageError("Name two images, OLD and NEW, or --fleet NAME:TAG.")
    if is_over(dearest, max_bytes):
        raise OverLimit(f"an update of about {dearest:,} bytes, and --max-bytes allows {max_bytes:,}")


def _two_images(old: str, new: str, max_bytes: int | None, top: int, scratch: Path | None, as_json: bool) -> int:
    """Returns about how many bytes the update has."""
    with unpacker(scratch) as unpacking:
        before, after = unpacking.unpack(old), unpacking.unpack(new)
        with progress("Comparing files") as report:
            costs = file_costs(after.content, [before.content], unpacking.folder, report)
    total = sum(cost.cost for cost in costs)
    dearest = sorted((cost for cost in costs if cost.cost), key=lambda cost: (-cost.cost, cost.path))[:top]
    found = advise(after.content, costs)
    files, layers, hints = [_file(cost) for cost in dearest], _layers(before, after, costs), [_hint(a) for a in found]
    if as_json:
        judged = {"totalBytes": total, "maxBytes": max_bytes, "overLimit": is_over(total, max_bytes)}
        emit(
            {"targetImageId": after.image.image_id, "layers": layers, "files": files, "advice": hints, **judged},
            as_json,
        )
        return total
    say_table(layers, _LAYERS)
    say()
    say_table(files, _FILES)
    say()
    for advice in found:
        say(f"{advice.topic}: {advice.files:,} files, about {advice.cost:,} bytes", bold=True)
        say(f"  {advice.advice}")
        for path in advice.examples:
            say(f"  - {path}")
        say()
    say(f"About {total:,} bytes in all.")
    return total


def _file(cost: FileCost) -> dict[str, Any]:
    base = cost.base_path.decode("utf-8", "replace") if cost.base_path else None
    path = cost.path.decode("utf-8", "replace")
    return {
        "bytes": cost.cost,
        "size": cost.size,
        "layer": cost.layer + 1,
        "path": path,
        "from": "itself" if base == path else base,
    }


def _layers(before: UnpackedImage, after: UnpackedImage, costs: list[FileCost]) -> list[dict[str, Any]]:
    rows = []
    for position, layer in enumerate(after.content.layers):
        files = [cost for cost in costs if cost.layer == position]
        rows.append(
            {
                "layer": position + 1,
                "size": layer.index.size,
                "rebuilt": layer.index.diff_id not in before.content.diff_ids,
                "same": sum(cost.choice in (Choice.SOURCE, Choice.STAMPED) for cost in files),
                "changed": sum(cost.choice in (Choice.CHANGED, Choice.KEPT) for cost in files),
                "new": sum(cost.choice is Choice.NEW for cost in files),
                "bytes": sum(cost.cost for cost in files),
            }
        )
    return rows


def _hint(advice: Advice) -> dict[str, Any]:
    return {
        "topic": advice.topic,
        "files": advice.files,
        "bytes": advice.cost,
        "advice": advice.advice,
        "examples": list(advice.examples),
    }
