"""Order images by how small a patch from each to TARGET would be, from signatures alone."""

from __future__ import annotations

from pathlib import Path

import click

from imagedelta.ranking import estimate_full, rank
from imagedelta_cli.cells import field, image, size
from imagedelta_cli.options import image_options, json_option
from imagedelta_cli.output import progress, say_table
from imagedelta_cli.profile_option import profile_option
from imagedelta_cli.signatures import signature_of
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say_json

_COLUMNS: tuple[Column, ...] = (
    ("SOURCE", field("source")),
    ("ABOUT", size("estimatedBytes")),
    ("IMAGE", image()),
)


@click.command(help=__doc__)
@click.argument("target")
@click.argument("candidates", nargs=-1, required=True, metavar="SIGNATURE_OR_IMAGE...")
@click.option("--always", multiple=True, help="A further source whichever is chosen; repeatable.")
@profile_option
@image_options
@json_option
def command(
    target: str, candidates: tuple[str, ...], always: tuple[str, ...], profile: str, scratch: Path | None, as_json: bool
) -> None:
    wanted = signature_of(target, scratch)
    given = {argument: signature_of(argument, scratch) for argument in candidates}
    names = {signature.image_id: argument for argument, signature in reversed(given.items())}
    further = [signature_of(argument, scratch) for argument in always]
    with progress("Ranking"):
        distinct = list({signature.image_id: signature for signature in given.values()}.values())
        ranked = rank(wanted, distinct, further, profile=profile)
    rows = [
        {"source": names[entry.image_id], "imageId": entry.image_id, "estimatedBytes": entry.estimated_bytes}
        for entry in ranked
    ]
    if as_json:
        summary = {"targetImageId": wanted.image_id, "estimatedFullBytes": estimate_full(wanted)}
        say_json({**summary, "ranked": rows})
    else:
        say_table(rows, _COLUMNS)
