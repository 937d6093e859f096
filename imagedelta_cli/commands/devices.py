"""Enrol devices and see what is on them."""

from __future__ import annotations

from typing import Any

import click

from imagedelta.platforms import parse_platform
from imagedelta_cli.api_client import Api, segment
from imagedelta_cli.api_options import host_command, limit_option, show_items, show_one
from imagedelta_cli.asking import confirmed, yes_option
from imagedelta_cli.cells import field, ident, image, sentence, size, when, word
from imagedelta_cli.connecting import connect
from imagedelta_cli.options import pairs
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say

_COLUMNS: tuple[Column, ...] = (
    ("DEVICE", ident("deviceId")),
    ("STATE", word("state")),
    ("WAITS FOR", field("waitsFor")),
    ("HUB", field("hub")),
    ("PLATFORM", field("platform")),
    ("LAST INVENTORY", when("lastInventoryAt")),
    ("TAGS", field("tags")),
)
_DETAILS: tuple[Column, ...] = (
    ("device", field("deviceId")),
    ("state", field("state")),
    ("held because", field("heldReason")),
    ("waits for", field("waitsFor")),
    ("what to do", field("remedy")),
    ("hub", field("hub")),
    ("id in the hub", field("hubDeviceId")),
    ("platform", field("platform")),
    ("tags", field("tags")),
    ("registry", field("registryAddress")),
    ("bytes per second", field("bytesPerSecond")),
    ("money per megabyte", field("moneyPerMegabyte")),
    ("bundles' bytes per second", field("linkRate")),
    ("bundles' hours, UTC", field("linkHours")),
    ("free disk", size("freeDiskBytes")),
    ("installation", field("installationId")),
    ("profiles", field("profiles")),
    ("trusted keys", field("trustedKeys")),
    ("last inventory", when("lastInventoryAt")),
    ("last heard", when("heardAt")),
    ("silent since", when("silentSince")),
    ("not in its hub since", when("missingSince")),
    ("enrolled", when("enrolledAt")),
)
_IMAGES: tuple[Column, ...] = (
    ("NAMES", ident("references")),
    ("IMAGE", image()),
    ("REGISTERED", field("registered")),
    ("SEEN", when("seenAt")),
    ("LOCAL DIGEST", field("localDigest")),
)


_TRANSFERS: tuple[Column, ...] = (
    ("REFERENCE", ident("reference")),
    ("STATE", word("stage")),
    ("PLANNED", size("estimatedBytes")),
    ("BUNDLE", size("bundleBytes")),
    ("CODE", field("code")),
    ("UPDATED", when("updatedAt")),
    ("DETAIL", sentence("detail")),
)
_OVER = ("succeeded", "already_present", "cancelled")
_TRANSFERS_LOOKED_AT = 100


@click.group(help=__doc__)
def command() -> None:
    pass


@command.command("enrol")
@click.argument("device_id")
@click.option("--hub", required=True, help="Name of the device's hub.")
@click.option("--hub-device-id", help="Its id in the hub, if that is another one.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    default=("linux/amd64",),
    show_default=True,
    help="What it runs, e.g. linux/arm/v7; several times, best first.",
)
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE", help="May be given several times.")
@click.option("--registry-address", help="Where modules on the device pull from.")
@click.option("--bytes-per-second", type=float, help="Of the link, for the plan's hours.")
@click.option("--money-per-megabyte", type=float, help="Of the link, for the plan's costs.")
@click.option("--link-rate", type=click.IntRange(0), help="The most bytes a second that bundles may take; 0: no limit.")
@click.option("--link-hours", metavar="HOURS", help="When it fetches bundles, in UTC: 22-6,12-13:30; empty: any time.")
@host_command
def enrol(
    api: Api,
    device_id: str,
    hub: str,
    hub_device_id: str | None,
    platforms: tuple[str, ...],
    tags: tuple[str, ...],
    registry_address: str | None,
    bytes_per_second: float | None,
    money_per_megabyte: float | None,
    link_rate: int | None,
    link_hours: str | None,
    as_json: bool,
) -> None:
    """Enrol a device, or change what is known of it."""
    optional = {
        "hubDeviceId": hub_device_id,
        "registryAddress": registry_address,
        "bytesPerSecond": bytes_per_second,
        "moneyPerMegabyte": money_per_megabyte,
        "linkRate": link_rate,
        "linkHours": link_hours,
    }
    main, *others = map(parse_platform, platforms)
    body: dict[str, object] = {"hub": hub, "platform": main, "alsoRuns": others, "tags": pairs(tags)}
    body |= {name: value for name, value in optional.items() if value is not None}
    show_one(api.put(f"devices/{segment(device_id)}", body), _DETAILS, as_json)


@command.command("list")
@click.option("--state", help="Only in this state.")
@click.option("--hub", help="Only of this hub.")
@click.option("--tag", metavar="NAME=VALUE", help="Only with this tag.")
@click.option("--silent", is_flag=True, help="Only those that are not heard from as they should.")
@click.option("--missing", is_flag=True, help="Only those that their hub does not know.")
@limit_option
@host_command
def list_(
    api: Api,
    state: str | None,
    hub: str | None,
    tag: str | None,
    silent: bool,
    missing: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List enrolled devices."""
    flags = {name: "true" for name, given in (("silent", silent), ("missing", missing)) if given}
    show_items(api.pages("devices", most=limit, state=state, hub=hub, tag=tag, **flags), _COLUMNS, as_json)


@command.command("show")
@click.argument("device_id")
@host_command
def show(api: Api, device_id: str, as_json: bool) -> None:
    """Show one device: what it waits for, what is on it, what is on its way to it."""
    path = f"devices/{segment(device_id)}"
    show_one(api.get(path), _DETAILS, as_json)
    if as_json:
        return
    say()
    say("On the device:")
    show_items(api.get(f"{path}/images")["items"], _IMAGES, as_json=False)
    say()
    say("On its way:")
    show_items(_under_way(api, device_id), _TRANSFERS, as_json=False)


@command.command("images")
@click.argument("device_id")
@host_command
def images(api: Api, device_id: str, as_json: bool) -> None:
    """List the images on a device, as its inventory confirmed them."""
    show_items(api.get(f"devices/{segment(device_id)}/images")["items"], _IMAGES, as_json)


def _under_way(api: Api, device_id: str) -> list[dict[str, Any]]:
    """The newest transfers that are not over; a device has few at a time."""
    newest = api.pages("transfers", most=_TRANSFERS_LOOKED_AT, device=device_id)
    return [item for item in newest if item["stage"] not in _OVER]


def _action(name: str, help_text: str, loses: str = "") -> None:
    @click.argument("device_id")
    @host_command
    def act(api: Api, device_id: str, as_json: bool, yes: bool = True) -> None:
        confirmed(f"{name} {device_id}", loses, yes)
        show_one(api.post(f"devices/{segment(device_id)}/{name}"), _DETAILS, as_json)

    command.command(name, help=help_text)(yes_option(act) if loses else act)


@command.command("rebind")
@click.argument("device_id")
@click.option("--hub", required=True, help="Name of the hub that the device is in now.")
@click.option("--hub-device-id", help="Its id there; what it was when left out.")
@host_command
def rebind(api: Api, device_id: str, hub: str, hub_device_id: str | None, as_json: bool) -> None:
    """Give a device another identity: of another hub, or another one of its hub. It keeps its images and history."""
    body = {"hub": hub} | ({} if hub_device_id is None else {"hubDeviceId": hub_device_id})
    show_one(api.post(f"devices/{segment(device_id)}/rebind", body), _DETAILS, as_json)


_action(
    "retire",
    "Retire a device: its access is revoked and its outbox emptied.",
    loses="It is out of all sets for good; to come back it is enrolled under another id.",
)
_action(
    "replace",
    "The hardware was replaced: everything is sent again as its inventory asks for it.",
    loses="What was known of its images is dropped; what they cost on the link may be paid again.",
)
_action("resync", "Ask a device for an inventory now; releases a held device.")


command.add_command(connect)
