"""Check a bundle (layout, seal, digest of its patch) or an image (digest of every layer)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imagedelta.bundles import read_bundle
from imagedelta_cli.files import scratch_folder
from imagedelta_cli.images import local_file, open_image, verified_size
from imagedelta_cli.options import image_options, json_option, trust_option, trusted_of
from imagedelta_cli.output import emit, progress
from imagedelta_cli.seals import say_seal, seal_fields


@click.command(help=__doc__)
@click.argument("file")
@trust_option
@image_options
@json_option
def command(file: str, trust_file: Path | None, scratch: Path | None, as_json: bool) -> None:
    path = local_file(file)
    emit(_bundle(path, trust_file) if path and _is_zip(path) else _image(file, scratch), as_json)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def _bundle(path: Path, trust_file: Path | None) -> dict[str, Any]:
    with path.open("rb") as stream, progress("Checking the bundle"):
        opened = read_bundle(stream, trusted_of(trust_file))
        opened.verify_patch_digest()
        opened.read_patch_head()
    say_seal(opened, trust_file)
    return {
        "kind": "bundle",
        "verified": True,
        **seal_fields(opened),
        "targetImageId": opened.head.target_image_id,
    }


def _image(argument: str, scratch: Path | None) -> dict[str, Any]:
    with (
        scratch_folder(scratch) as folder,
        open_image(argument, folder) as (source, image),
    ):
        size = verified_size(source, image)
    return {"kind": "image", "verified": True, "imageId": image.image_id, "layerBytes": size}
