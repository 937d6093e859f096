"""Register images: send FILE (docker save or OCI archive), or have the cloud read NAME in one of its registries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from imagedelta.errors import REMEDIES
from imagedelta.names import spelled
from imagedelta.platforms import parse_platform
from imagedelta_cli.api_client import Api, Problem, segment
from imagedelta_cli.api_options import host_command, show_one, tell_changes, wait_for
from imagedelta_cli.cells import field
from imagedelta_cli.kept_uploads import KeptUpload
from imagedelta_cli.output import Report, progress
from imagedelta_cli.stopping import when_stopped
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say, say_json
from imagedelta_cli.uploading import AccessOver
from imagedelta_registry.names import REGISTRY, RegistryName, parse_registry_name

_REGISTRATION: tuple[Column, ...] = (
    ("registration", field("registrationId")),
    ("state", field("state")),
    ("reference", field("reference")),
    ("images", field("images")),
    ("remark", field("detail")),
)


class _FileOrName(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A file that is there, or a name in a registry."""

    name = "image"
    _file = click.Path(exists=True, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | RegistryName:
        if isinstance(value, str) and value.startswith(REGISTRY):
            return parse_registry_name(value)
        return Path(str(self._file.convert(value, param, ctx)))


@click.command(help=__doc__)
@click.argument("image", metavar="FILE|registry://NAME", type=_FileOrName())
@click.option("--reference", help="Friendly name:tag; the image's own when absent.")
@click.option("--platform", help="What the image is for, e.g. linux/arm/v7, where its config is wrong or does not say.")
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds to wait for the cloud to read it.")
@host_command
def command(
    api: Api, image: Path | RegistryName, reference: str | None, platform: str | None, timeout: float, as_json: bool
) -> None:
    wanted = {
        "reference": spelled(reference) if reference else None,
        "platform": parse_platform(platform) if platform else None,
    }
    given = {name: value for name, value in wanted.items() if value}
    if isinstance(image, RegistryName):
        if image.platform:
            given = {"platform": parse_platform(image.platform), **given}
        accepted = api.post("images", {"registry": str(image), **given})
    else:
        accepted = _send_and_order(api, image, given)
    path = f"images/registrations/{segment(accepted['registrationId'])}"
    with when_stopped("The host goes on reading it; the image is in imagedelta images list when that is done."):
        done = wait_for(
            lambda: api.get(path),
            lambda found: found["state"] in ("registered", "failed"),
            timeout=timeout,
            tell=tell_changes(lambda found: f"{found['registrationId']}: {found['state']}"),
            pause=0.2,
        )
    if as_json:
        say_json(done)
    elif done["state"] == "registered":
        show_one(done, _REGISTRATION, as_json=False)
        _show_names(api, done)
    _raise_if_failed(image, done)


def _send_and_order(api: Api, file: Path, given: Mapping[str, str]) -> dict[str, Any]:
    kept = KeptUpload(api.endpoint.url, file)
    with when_stopped("Nothing is registered."), progress(f"Sending {file.name}") as report:
        upload = _send(api, file, kept, report)
    accepted: dict[str, Any] = api.post("images", {"upload": upload["uploadId"], **given})
    kept.drop()
    return accepted


def _send(api: Api, file: Path, kept: KeptUpload, report: Report) -> dict[str, Any]:
    """Send the archive, or the rest of it if it was begun before; returns the upload."""
    begun = kept.read()
    if begun is not None:
        try:
            api.send_file(file, begun, report)
            return begun
        except AccessOver:
            kept.drop()
    upload = api.post("uploads")
    if file.stat().st_size > upload.get("blockBytes", upload["maxBytes"]):
        kept.write(upload)  # it may take hours; a small one is sent anew as quickly as looked up
    api.send_file(file, upload, report)
    return upload


def _show_names(api: Api, registration: Mapping[str, Any]) -> None:
    """Every name that leads to the images: an archive may give several."""
    for platform, image_id in registration["images"].items():
        names = api.get(f"images/{segment(image_id)}")["references"]
        known_as = ", ".join(names) or "no name: no set can order it; register it again with --reference NAME:TAG"
        say(f"{platform}: {known_as}")


def _raise_if_failed(image: Path | RegistryName, registration: Mapping[str, Any]) -> None:
    if registration["state"] == "failed":
        code = registration["code"] or "internal"
        remedy = registration["remedy"] or REMEDIES["internal"]
        raise Problem(f"{image}: {registration['detail']}", code, remedy, retryable=False)
