"""Check libraries, Docker, registry, storage, SQL and host, and say what to do about what is wrong."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from imagedelta_cli import exits
from imagedelta_cli.checks.finding import Finding, State, guarded
from imagedelta_cli.checks.libraries import check_codecs, check_libraries, check_native
from imagedelta_cli.checks.places import check_folder
from imagedelta_cli.checks.remote import check_api, check_docker, check_registry
from imagedelta_cli.images import registry_access
from imagedelta_cli.options import insecure_option, json_option
from imagedelta_cli.terminal import say, say_json
from imagedelta_host.settings import apply_local_settings

_PINS = Path(__file__).parents[2] / "constraints.txt"
_HOST_STATE = Path(".imagedelta/host")


@click.command(help=__doc__)
@click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder of local.settings.json; the current one unless given.",
)
@click.option("--registry", metavar="HOST[:PORT]", help="A registry to check; IMAGEDELTA_REGISTRY unless given.")
@insecure_option
@json_option
def command(app: Path, registry: str | None, as_json: bool) -> int:
    settings = dict(os.environ)
    findings = guarded("settings", lambda: _settings(app, settings))
    findings += [*guarded("libraries", lambda: check_libraries(_PINS)), *guarded("codecs", check_codecs)]
    findings += guarded("native coder", check_native)
    findings += guarded("docker", check_docker)
    findings += guarded("registry", lambda: _registry(registry or settings.get("IMAGEDELTA_REGISTRY")))
    findings += guarded("scratch", lambda: check_folder("scratch", Path(tempfile.gettempdir())))
    findings += guarded("storage", lambda: _storage(app, settings))
    findings += guarded("database", lambda: _database(app, settings))
    findings += guarded("host", check_api)
    failed = sum(finding.state is State.FAILED for finding in findings)
    rows = [
        {"check": finding.check, "state": finding.state.value, "found": finding.found, "remedy": finding.remedy}
        for finding in findings
    ]
    if as_json:
        say_json({"checks": rows, "failed": failed, "ok": not failed})
    else:
        _tell(findings)
    return exits.REFUSED if failed else exits.DONE


def _tell(findings: list[Finding]) -> None:
    for finding in findings:
        say(f"{finding.state.value:<15} {finding.check}: {finding.found}")
        if finding.remedy:
            say(f"{'':<15} -> {finding.remedy}")


def _settings(app: Path, settings: dict[str, str]) -> Iterator[Finding]:
    """Read the settings as the host does: the environment first, then local.settings.json."""
    apply_local_settings(app, settings)
    path = app / "local.settings.json"
    if path.is_file():
        yield Finding("settings", State.OK, f"{path} and the environment")
    else:
        yield Finding("settings", State.NOT_CONFIGURED, f"no {path}: the environment alone")


def _registry(address: str | None) -> Iterator[Finding]:
    if address:
        yield from check_registry(address, registry_access())
    else:
        remedy = "To check one: --registry HOST, or IMAGEDELTA_REGISTRY."
        yield Finding("registry", State.NOT_CONFIGURED, "none is named", remedy)


def _storage(app: Path, settings: Mapping[str, str]) -> Iterator[Finding]:
    yield from _folder(app, settings)
    for name, needed in (("IMAGEDELTA_STORAGE", True), ("AzureWebJobsStorage", False)):
        if settings.get(name):
            yield from _account(f"storage {name}", settings[name], needed)


def _folder(app: Path, settings: Mapping[str, str]) -> Iterator[Finding]:
    named = settings.get("IMAGEDELTA_BLOBS_DIR") or settings.get("LOCAL_BLOBS_DIR")
    folder = app / (named or _HOST_STATE / "blobs")
    if named or folder.is_dir():
        yield from check_folder("storage", folder)
    else:
        yield Finding("storage", State.NOT_CONFIGURED, f"no {folder}: the embedded host makes it when it starts")


def _account(check: str, connection: str, needed: bool) -> Iterator[Finding]:
    if importlib.util.find_spec("azure") is None or importlib.util.find_spec("azure.storage.blob") is None:
        yield Finding(check, State.WARNING, "azure-storage-blob is not installed", "pip install 'imagedelta[app]'")
        return
    from imagedelta_cli.checks.blob_storage import check_account

    yield from check_account(check, connection, needed=needed)


def _database(app: Path, settings: Mapping[str, str]) -> Iterator[Finding]:
    if importlib.util.find_spec("sqlalchemy") is None:
        yield Finding("database", State.NOT_CONFIGURED, "sqlalchemy is not installed", "pip install 'imagedelta[app]'")
        return
    from imagedelta_cli.checks.sql import check_database

    blobs = settings.get("IMAGEDELTA_BLOBS_DIR") or settings.get("LOCAL_BLOBS_DIR")
    state = (app / blobs).parent if blobs else app / _HOST_STATE
    yield from check_database(settings.get("IMAGEDELTA_DATABASE_URL") or f"sqlite:///{state / 'imagedelta.db'}")
