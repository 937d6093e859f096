"""Look after the database of the function app: its schema, and its truth after a backup was restored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from imagedelta.errors import RequestError
from imagedelta_cli.app_database import admit_to_database, reconcile_database, upgrade_database
from imagedelta_cli.asking import confirmed, yes_option
from imagedelta_cli.options import json_option
from imagedelta_cli.output import emit, progress
from imagedelta_cli.terminal import say, say_json
from imagedelta_host.settings import apply_local_settings

_LOSES = "Bundles that the database does not know are taken out of outboxes, and what it gives up is sent again."
_PLACES = ("IMAGEDELTA_DATABASE_URL", "IMAGEDELTA_BLOBS_DIR", "LOCAL_BLOBS_DIR")
"""The first names the database; without it, it is a file beside the blobs."""


@click.group("db", help=__doc__)
def command() -> None:
    pass


_app_option = click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of function_app.py, in the version that is deployed; the current one unless given.",
)


@command.command("upgrade")
@_app_option
@json_option
def upgrade(app: Path, as_json: bool) -> None:
    """Upgrade the database that IMAGEDELTA_DATABASE_URL names: once for each deployment, before the app starts.

    The login needs the right to change the schema, which the app's own does not. One process upgrades at a time, all
    or nothing; a database that is up to date stays as it is.
    """
    _settings(app, "a host that makes its own database brings it up to date when it starts")
    revision = upgrade_database(app)
    if revision is None:
        raise RequestError(f"the app in {app.resolve()} has no database_upgrade.py", code="cli.no_database")
    emit({"schema": revision}, as_json)


@command.command("admit")
@click.argument("name")
@click.argument("client_id")
@_app_option
@json_option
def admit(name: str, client_id: str, app: Path, as_json: bool) -> None:
    """Let the app's managed identity into its database on Azure SQL: NAME and CLIENT_ID of the identity.

    It may read and write, and no more. Once for each deployment, after upgrade, as who administers the database; an
    identity that is in already stays as it is.
    """
    _settings(app, "only there users are let in")
    admit_to_database(app, name, client_id)
    emit({"user": name, "clientId": client_id}, as_json)


@command.command("reconcile")
@_app_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@yes_option
@json_option
def reconcile(app: Path, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Bring a database that was restored from a backup to what is true by now, before the app starts again.

    The outboxes in the storage tell what is really on its way, the hubs whose manifest has changed; every device is
    asked for an inventory, and nothing is sent to it before that has come. Numbers of bundles go on behind all that
    devices can have seen. May be interrupted, and run again.
    """
    _settings(app, "its settings say which database and storage are the app's")
    confirmed("reconcile", "" if dry_run else _LOSES, yes)
    with progress("Comparing devices") as bar:
        found = reconcile_database(app, dry_run=dry_run, progress=lambda done: bar(done, 0))
    if as_json:
        say_json(found)
        return
    for sentence in _sentences(found):
        say(sentence)


def _settings(app: Path, why: str) -> None:
    apply_local_settings(app, os.environ)
    if not any(os.environ.get(place) for place in _PLACES):
        raise RequestError(f"{_PLACES[0]} is not set: {why}", code="cli.no_database")


_COUNTED = {
    "devicesAsked": ("Devices asked", "Devices to ask", "for an inventory, before which nothing is sent to them"),
    "transfersPlannedAnew": (
        "Transfers given up",
        "Transfers to give up",
        "and plan anew: their bundle is in no outbox",
    ),
    "bundlesRemoved": ("Files removed", "Files to remove", "from outboxes: they belong to nothing under way"),
    "patchesToBuildAgain": ("Patches given up", "Patches to give up", "and build again: their blob is gone"),
    "unknownPatchesRemoved": ("Patches removed", "Patches to remove", "that the database does not know"),
}
"""What was done, what a dry run would do, and the rest of the words."""


def _sentences(found: Mapping[str, Any]) -> Iterator[str]:
    """What was found and done, and what is left to a person; nothing of what there was none."""
    yield f"The database knows of nothing after {found['newestKnown'] or 'its beginning'}."
    for name, (done, to_do, rest) in _COUNTED.items():
        if found[name]:
            yield f"{to_do if found['dryRun'] else done} {rest}: {found[name]}"
    if names := found["devicesWithBundlesRemoved"]:
        yield f"  On {', '.join(names)}: their sets may be lost. Order again what was ordered since then."
    if found["manifestsChangedSince"]:
        names = ", ".join(found["devicesWithChangedManifests"])
        yield f"Manifests that the database does not know: {found['manifestsChangedSince']}, on {names}."
        yield "  Their open sets come to a conflict: `imagedelta sets rebase` or `skip` them, when you have looked."
    for name, code in found["hubsNotAsked"].items():
        yield f"Hub {name} was not asked for manifests ({code})."
    if found["imagesToRegisterAgain"]:
        yield f"Layers missing in the storage: {found['layersMissing']}. Register these images again:"
        yield from (f"  {image}" for image in found["imagesToRegisterAgain"])
    if found["unknownLayers"]:
        yield f"Layers of no known image: {found['unknownLayers']}. Register again what was registered since then."
