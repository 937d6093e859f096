"""Write the signature of IMAGE: the digest summary by which images are ranked."""

from __future__ import annotations

from pathlib import Path

import click

from imagedelta_cli.options import image_options, json_option
from imagedelta_cli.output import emit
from imagedelta_cli.outputs import Output, output_options
from imagedelta_cli.signatures import signature_of


@click.command(help=__doc__)
@click.argument("image")
@output_options()
@image_options
@json_option
def command(image: str, output: Output, scratch: Path | None, as_json: bool) -> None:
    signature = signature_of(image, scratch)
    data = signature.to_bytes()
    with output.open() as out:
        out.write(data)
    emit(
        {
            "imageId": signature.image_id,
            "platform": signature.platform,
            "fullBytes": signature.full_bytes,
            "signatureBytes": len(data),
        },
        as_json,
    )
