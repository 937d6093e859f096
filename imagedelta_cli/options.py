"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from imagedelta.bundles import PublicKey, read_trusted_keys

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line, last.")
output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; it appears complete or not at all.",
)
scratch_option = click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for unpacked layers; the system's temporary folder by default.",
)
source_option = click.option("--source", "sources", multiple=True, help="An image that is there already; repeatable.")
trust_option = click.option(
    "--trust",
    "trust_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of public keys: the bundle must be sealed by one of them.",
)


def trusted_of(trust_file: Path | None) -> dict[str, PublicKey] | None:
    """Return the keys of ``--trust``; ``None`` without it, so that no seal is checked."""
    return read_trusted_keys(trust_file) if trust_file else None
