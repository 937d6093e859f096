"""See which images the cloud knows, and which devices have them."""

from __future__ import annotations

import click

from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command, limit_option, show_items, show_one
from imagedelta_cli.cells import field, ident, size, when, word
from imagedelta_cli.cells import image as image_cell
from imagedelta_cli.tables import Cell, Column

_COLUMNS: tuple[Column, ...] = (
    ("NAMES", ident("references")),
    ("IMAGE", image_cell()),
    ("PLATFORM", field("platform")),
    ("SIZE", size("fullBytes")),
    ("LAYERS", Cell(lambda item: len(item["diffIds"]))),
    ("REGISTERED", when("registeredAt")),
)
_DETAILS: tuple[Column, ...] = (
    ("image", field("imageId")),
    ("names", field("references")),
    ("platform", field("platform")),
    ("size", size("fullBytes")),
    ("layers", Cell(lambda item: len(item["diffIds"]))),
    ("registered", when("registeredAt")),
)
_DEVICES: tuple[Column, ...] = (
    ("DEVICE", ident("deviceId")),
    ("STATE", word("state")),
    ("HUB", field("hub")),
    ("LAST INVENTORY", when("lastInventoryAt")),
)


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command("list")
@click.option("--reference", help="Only this name:tag.")
@click.option("--platform", help="Only this platform, e.g. linux/amd64.")
@limit_option
@host_command
def list_(api: Api, reference: str | None, platform: str | None, limit: int, as_json: bool) -> None:
    """List registered images."""
    show_items(api.pages("images", most=limit, reference=reference, platform=platform), _COLUMNS, as_json)


@command.command("show")
@click.argument("image_id")
@host_command
def show(api: Api, image_id: str, as_json: bool) -> None:
    """Show one image."""
    show_one(api.get(f"images/{segment(image_id)}"), _DETAILS, as_json)


@command.command("devices")
@click.argument("image_id")
@limit_option
@host_command
def devices(api: Api, image_id: str, limit: int, as_json: bool) -> None:
    """List the devices that have an image."""
    show_items(api.pages(f"images/{segment(image_id)}/devices", most=limit), _DEVICES, as_json)
