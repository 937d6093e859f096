"""What a device says of itself, whole: evidence that beats every state SQL believed.

An installation is one registry disk; its inventories are ordered by their sequence. A new installation id
means new hardware; one that comes back after another means that two devices share an identity.
An inventory costs a constant number of statements, and writes what it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from contracts.messages import Inventory
from contracts.records import Device
from contracts.states import DEVICE
from services.store_port import Origin, Outcome
from store.devices.bindings import MOVED
from store.devices.confirmed import confirm_images, forget_images_of
from store.devices.evidence import read_evidence
from store.devices.rows import update_device
from store.devices.senders import heard_from, held_devices, stranger
from store.devices.silence import heard, is_news
from store.devices.states import hold, move_device
from store.kernel.ledger import Ledger
from store.kernel.schema import device_installations
from store.sets.waiting import plan_device, publish_to_device
from store.transfers.accounts import APPLIED, DUPLICATE, HELD, STALE

Installations = Mapping[str, RowMapping]


def take_inventory(
    connection: Connection,
    origin: Origin,
    inventory: Inventory,
    module_id: str,
    max_attempts: int,
    silent_after: timedelta,
) -> Outcome:
    device = held_devices(connection, [origin.device_id]).get(origin.device_id)
    if device is not None and device.state == "held":
        device = _released_by_its_hub(connection, device, origin)
    if device is not None and origin.module_id == module_id and _same_name_elsewhere(device, origin):
        return _held(connection, device, f"hub mismatch: heard from {origin.hub}, enrolled in {device.hub}", origin)
    if refusal := stranger(origin, device, module_id):
        return refusal
    assert device is not None  # noqa: S101  stranger() answered for None
    installations = _installations(connection, device, inventory)
    if old := _out_of_date(installations, device, origin, inventory):
        return old
    is_other = device.installation_id not in (None, inventory.installation_id)
    if is_other and inventory.installation_id in installations:
        return _held(connection, device, "two installations report as this device", origin)
    _describe(connection, device, inventory, origin.enqueued_at)
    _remember_installation(connection, device.device_id, inventory, installations, origin.enqueued_at)
    _believe(connection, device, inventory, origin.enqueued_at, max_attempts, replaced=is_other)
    heard_from(connection, [device.device_id], origin.enqueued_at)
    if is_news(device, origin.enqueued_at):
        heard(connection, {device.device_id: origin.enqueued_at}, silent_after)
    set_ids = plan_device(connection, device.device_id, origin.enqueued_at)
    return Outcome(APPLIED, f"{len(inventory.images)} images", set_ids)


def _released_by_its_hub(connection: Connection, device: Device, origin: Origin) -> Device:
    """A device that was moved to another hub is heard from there: that is what it was held for."""
    if device.binding == origin.binding and (device.held_reason or "").startswith(MOVED):
        move_device(connection, device, "active", DEVICE, origin.enqueued_at, held_reason=None)
        publish_to_device(connection, device.device_id, origin.enqueued_at)
        return replace(device, state="active", held_reason=None)
    return device


def _same_name_elsewhere(device: Device, origin: Origin) -> bool:
    """It was enrolled with the wrong hub, or somebody gave another device its name."""
    return origin.hub != device.hub and origin.binding[1] == device.hub_device_id == device.device_id


def _held(connection: Connection, device: Device, reason: str, origin: Origin) -> Outcome:
    if device.state in ("retired", "held"):
        return Outcome(HELD, device.held_reason or "retired")
    hold(connection, device, reason, origin.enqueued_at)
    return Outcome(HELD, f"device {origin.device_id}: {reason}")


def _installations(connection: Connection, device: Device, inventory: Inventory) -> Installations:
    """The device's present installation and the one that speaks, as far as they are known."""
    ids = [one for one in (device.installation_id, inventory.installation_id) if one is not None]
    query = select(device_installations).where(
        device_installations.c.device_id == device.device_id, device_installations.c.installation_id.in_(ids)
    )
    return {row["installation_id"]: row for row in connection.execute(query).mappings()}


def _out_of_date(installations: Installations, device: Device, origin: Origin, inventory: Inventory) -> Outcome | None:
    """A repeated or overtaken inventory: by sequence within its installation, else by when it was sent."""
    known = installations.get(inventory.installation_id)
    if known is not None and inventory.sequence <= known["sequence"]:
        result = DUPLICATE if inventory.sequence == known["sequence"] else STALE
        return Outcome(result, f"inventory {inventory.sequence} after {known['sequence']}")
    present = installations.get(device.installation_id or "")
    other = device.installation_id != inventory.installation_id
    if other and present is not None and origin.enqueued_at <= present["first_at"]:
        return Outcome(STALE, "sent before the device's present installation was first heard of")
    return None


def _describe(connection: Connection, device: Device, inventory: Inventory, at: datetime) -> None:
    values: dict[str, Any] = {
        "installation_id": inventory.installation_id,
        "platform": inventory.platform,
        "also_runs": list(inventory.also_runs or ()),
        "profiles": list(inventory.profiles),
        "trusted_keys": list(inventory.trusted_keys),
        "bundle_forms": list(inventory.bundle_forms or ()),
        "free_disk_bytes": inventory.free_disk_bytes,
        "last_inventory_at": at,
    }
    if device.state == "enrolled":
        move_device(connection, device, "active", DEVICE, at, **values)
    else:
        update_device(connection, device.device_id, **values)


def _remember_installation(
    connection: Connection, device_id: str, inventory: Inventory, installations: Installations, at: datetime
) -> None:
    this = {"device_id": device_id, "installation_id": inventory.installation_id}
    seen = {"sequence": inventory.sequence, "last_at": at}
    if inventory.installation_id not in installations:
        connection.execute(device_installations.insert().values(**this, first_at=at, **seen))
        return
    connection.execute(device_installations.update().filter_by(**this).values(**seen))


def _believe(
    connection: Connection, device: Device, inventory: Inventory, at: datetime, max_attempts: int, *, replaced: bool
) -> None:
    """Hold the transfers to the device against it."""
    present = {image.image_id: image for image in inventory.images}
    evidence = read_evidence(connection, device.device_id, at, inventory.results)
    if replaced:
        evidence.replaced(keep=present)
    evidence.inventory(present, max_attempts)
    confirm_images(connection, device.device_id, present, at)
    with Ledger(connection, DEVICE, at, "inventory") as ledger:
        if replaced:
            ledger.twins_changed([device.device_id])
        evidence.write(connection, ledger)


def forget_everything(connection: Connection, device: Device, at: datetime, who: str) -> None:
    """The hardware is another one, and nothing is known of it yet. The caller holds the device."""
    forget_images_of(connection, device.device_id)
    evidence = read_evidence(connection, device.device_id, at)
    evidence.replaced(keep=())
    with Ledger(connection, DEVICE, at, who) as ledger:
        ledger.twins_changed([device.device_id])
        evidence.write(connection, ledger)
