"""``imagedelta devices connect``: how the Image Reconstruction module on a device signs in to its hub."""

from __future__ import annotations

from pathlib import Path

import click

from imagedelta.errors import RequestError
from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command
from imagedelta_cli.output import emit
from imagedelta_cli.outputs import Output, output_options

_MODULE = "imagereconstruction"
_POLL_SECONDS = "5"
"""A hub on this machine is not at the end of a thin link."""
_RUN = "python -m edge_module --settings {} run"


@click.command("connect")
@click.argument("device_id")
@click.option("--module", default=_MODULE, show_default=True, help="Name of the Image Reconstruction module.")
@output_options(required=False, help_text="File of settings to write, for you alone: the module runs with it.")
@click.option(
    "--keys",
    type=click.Path(exists=True, path_type=Path),
    help="With -o: public keys, a file or a folder of *.pub, whose bundles the device believes.",
)
@click.option("--root", type=click.Path(path_type=Path), help="With -o: the device's folder; ./DEVICE_ID by default.")
@host_command
def connect(
    api: Api, device_id: str, module: str, output: Output | None, keys: Path | None, root: Path | None, as_json: bool
) -> None:
    """Give the connection of a device's module; on local hubs device and module are registered if need be."""
    if (output is None) != (keys is None):
        raise click.UsageError("A settings file needs both: -o FILE and --keys FILE.")
    device = api.get(f"devices/{segment(device_id)}")
    connection = _connection(api, device["hub"], device_id, module)
    result = {"device": device_id, "hub": device["hub"], "module": module}
    if output is None or keys is None:
        emit({**result, "connection": connection}, as_json)
        return
    settings = {
        "IMAGEDELTA_ROOT": str((root or _folder_of(device_id)).absolute()),
        "IMAGEDELTA_HUB": connection,
        "IMAGEDELTA_KEYS": str(keys.absolute()),
        "IMAGEDELTA_PLATFORM": ",".join((device["platform"], *device["alsoRuns"])),
        "IMAGEDELTA_POLL_SECONDS": _POLL_SECONDS,
    }
    with output.open(private=True) as out:
        out.write("".join(f"{name}={value}\n" for name, value in settings.items()).encode())
    emit({**result, "settings": str(output.path), "run": _RUN.format(output.path)}, as_json)


def _connection(api: Api, hub: str, device_id: str, module: str) -> str:
    """Imported here: what local hubs need is not there where no host was started, in a pipeline for one.

    Raises: RequestError ``cli.hub_elsewhere``: only local hubs can be asked from here.
    """
    if hub not in api.endpoint.hubs:
        raise RequestError(f"hub {hub} is no local hub of a host that was started here", code="cli.hub_elsewhere")
    from imagedelta_local.hub_service import HubService

    with HubService(api.endpoint.hubs[hub]) as service:
        return service.ensure_module(device_id, module)


def _folder_of(device_id: str) -> Path:
    if device_id != Path(device_id).name or device_id.startswith("."):
        raise click.UsageError(f"{device_id} cannot be the name of a folder: give --root.")
    return Path(device_id)
