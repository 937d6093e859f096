"""Make and show the keys that seal bundles."""

from __future__ import annotations

from pathlib import Path

import click

from imagedelta.bundles.keys import read_public_pem, read_trusted_keys, write_key_pair
from imagedelta_cli.options import json_option
from imagedelta_cli.output import emit
from imagedelta_cli.terminal import say


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command("new")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def new(path: Path, as_json: bool) -> None:
    """Make a key pair: PATH (private, readable by you alone) and PATH.pub (what devices are given)."""
    public = write_key_pair(path)
    emit(
        {
            "keyId": public.key_id,
            "alg": public.alg,
            "publicKey": public.to_text(),
            "privateFile": str(path),
            "publicFile": f"{path}.pub",
        },
        as_json,
    )


@command.command("show")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def show(path: Path, as_json: bool) -> None:
    """List the key ids in PATH, a .pub file or several of them joined."""
    keys = read_trusted_keys(path)
    emit({key_id: key.to_text() for key_id, key in keys.items()}, as_json)


@command.command("public")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def public_(path: Path, as_json: bool) -> None:
    """Show a public key in PEM as devices are given it, e.g. of Key Vault: az keyvault key download --encoding PEM."""
    public = read_public_pem(path)
    if as_json:
        emit({"keyId": public.key_id, "alg": public.alg, "publicKey": public.to_text()}, as_json)
    else:
        say(public.to_text())
