"""What a deployment set is made of: the options of ``plan`` and ``deploy``, as the body of a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, RequestError
from imagedelta_cli.options import pairs

_MAX_MANIFEST_BYTES = 1 << 20


def order_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a deployment set is made of; the command receives it as ``order``, the request's body."""
    options = (
        click.option("--name", required=True, help="What people will call this set."),
        click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
        click.option("--image", "images", multiple=True, help="name:tag instead of a manifest; several times."),
        click.option("--value", "values", multiple=True, metavar="NAME=VALUE", help="What ${NAME} stands for."),
        click.option("--device", "devices", multiple=True, help="Device id; several times."),
        click.option("--query", help="Instead of devices, e.g. \"tags.site = 'north'\"."),
        click.option("--owner", required=True, metavar="NAME", help="Name of the person who is told."),
        click.option("--email", required=True, help="Mail address of that person."),
        click.option("--workstream", default="default", show_default=True),
        click.option("--priority", type=click.Choice(["urgent", "normal", "background"])),
        click.option("--release", type=click.Choice(["set", "device", "manual"]), default="set", show_default=True),
        click.option(
            "--release-by",
            type=click.Choice(["auto", "device", "condition"]),
            default="auto",
            show_default=True,
            help="Write manifests to each device, or lay one deployment by target condition over all.",
        ),
        click.option("--canary", "canaries", multiple=True, help="Device that goes first; several times."),
        click.option("--deadline", help="UTC, e.g. 2030-01-31T12:00:00Z; the owner is told when it passes."),
        click.option("--max-bytes", type=int, help="Of the set; above it approval is asked for."),
        click.option("--max-bytes-per-device", type=int),
        click.option("--no-full-bundles", is_flag=True, help="Ask for approval where only a full image would help."),
    )

    def run(*args: Any, **kwargs: Any) -> Any:
        names = {option for option in _ORDER_KEYS if option in kwargs}
        order = _order(**{name: kwargs.pop(name) for name in names})
        return function(*args, order=order, **kwargs)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = run
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


_ORDER_KEYS = (
    *("name", "manifest", "images", "values", "devices", "query", "owner", "email", "workstream", "priority"),
    *("release", "release_by", "canaries", "deadline", "max_bytes", "max_bytes_per_device", "no_full_bundles"),
)


def _order(
    *,
    name: str,
    manifest: Path | None,
    images: tuple[str, ...],
    values: tuple[str, ...],
    devices: tuple[str, ...],
    query: str | None,
    owner: str,
    email: str,
    no_full_bundles: bool,
    canaries: tuple[str, ...],
    **plain: Any,
) -> dict[str, Any]:
    if bool(devices) == bool(query):
        raise click.UsageError("Name the devices, either with --device or with --query.")
    if (manifest is None) == (not images):
        raise click.UsageError("Name the images, either with --manifest or with --image.")
    optional = {
        "manifest": _read_manifest(manifest) if manifest else None,
        "images": list(images) or None,
        "values": pairs(values) or None,
        "canaries": list(canaries) or None,
        "priority": plain["priority"],
        "deadline": plain["deadline"],
        "maxBytes": plain["max_bytes"],
        "maxBytesPerDevice": plain["max_bytes_per_device"],
    }
    return {
        "name": name,
        "workstream": plain["workstream"],
        "owner": {"name": owner, "email": email},
        "devices": {"query": query} if query else {"ids": list(devices)},
        "release": plain["release"],
        "releaseBy": plain["release_by"],
        "allowFullBundles": not no_full_bundles,
    } | {key: value for key, value in optional.items() if value is not None}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from error
    if len(data) > _MAX_MANIFEST_BYTES:
        raise RequestError(f"{path} has more than {_MAX_MANIFEST_BYTES} bytes")
    try:
        return parse_object(data, str(path))
    except ContentError as error:
        raise RequestError(str(error)) from error
