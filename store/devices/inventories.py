"""What a device says of itself, whole: evidence that beats every state SQL believed.

An installation is one registry disk; its inventories are ordered by their sequence. A new installation id
means new hardware; one that comes back after another means that two devices share an identity.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from contracts.messages import Inventory, PresentImage
from contracts.records import Device, Transfer
from contracts.states import ACTIVE_TRANSFER, DEVICE, ON_DEVICE, TIMER, UNRELEASED_MEMBER
from services.store_port import Origin, Outcome
from store.devices.rows import find_device, twin_changed, update_device
from store.devices.states import hold, move_device
from store.kernel.ledger import UNPLANNED
from store.kernel.moves import move_member, move_transfer, requeue
from store.kernel.schema import device_images, device_installations, member_transfers, members, transfers
from store.kernel.tools import lock_device
from store.sets.links import relink
from store.sets.rows import wanted_by_a_member
from store.sets.work import sets_with_work
from store.transfers.reports import APPLIED, DUPLICATE, HELD, STALE, Told, apply_told, stranger
from store.transfers.rows import active_transfer, fetch_transfers


def take_inventory(
    connection: Connection, origin: Origin, inventory: Inventory, module_id: str, max_attempts: int
) -> Outcome:
    lock_device(connection, origin.device_id)
    device = find_device(connection, origin.device_id)
    if device is not None and device.state == "held":
        device = _released_by_its_hub(connection, device, origin)
    if device is not None and origin.module_id == module_id and origin.hub != device.hub:
        return _held(connection, device, f"hub mismatch: heard from {origin.hub}, enrolled in {device.hub}", origin)
    if refusal := stranger(origin, device, module_id):
        return refusal
    assert device is not None  # noqa: S101  stranger() answered for None
    if old := _out_of_date(connection, device, origin, inventory):
        return old
    if device.installation_id not in (None, inventory.installation_id):
        if _seen_before(connection, device.device_id, inventory.installation_id):
            return _held(connection, device, "two installations report as this device", origin)
        forget_everything(connection, device, origin.enqueued_at, keep={i.image_id for i in inventory.images})
    _take(connection, device, origin, inventory, max_attempts)
    return Outcome(APPLIED, f"{len(inventory.images)} images", sets_with_work(connection, device.device_id))


def _released_by_its_hub(connection: Connection, device: Device, origin: Origin) -> Device:
    """A device that was moved to another hub is heard from there: that is what it was held for."""
    if device.hub == origin.hub and (device.held_reason or "").startswith("hub mismatch: moved"):
        move_device(connection, device, "active", DEVICE, held_reason=None)
        return find_device(connection, device.device_id) or device
    return device


def _held(connection: Connection, device: Device, reason: str, origin: Origin) -> Outcome:
    if device.state in ("retired", "held"):
        return Outcome(HELD, device.held_reason or "retired")
    hold(connection, device, reason)
    return Outcome(HELD, f"device {origin.device_id}: {reason}")


def _out_of_date(connection: Connection, device: Device, origin: Origin, inventory: Inventory) -> Outcome | None:
    """A repeated or overtaken inventory: by sequence within its installation, else by when it was sent."""
    query = select(device_installations.c.sequence, device_installations.c.installation_id).where(
        device_installations.c.device_id == device.device_id,
        device_installations.c.installation_id == inventory.installation_id,
    )
    known = connection.execute(query).first()
    if known is not None and inventory.sequence <= known.sequence:
        result = DUPLICATE if inventory.sequence == known.sequence else STALE
        return Outcome(result, f"inventory {inventory.sequence} after {known.sequence}")
    since = select(device_installations.c.first_at).where(
        device_installations.c.device_id == device.device_id,
        device_installations.c.installation_id == device.installation_id,
    )
    first_at: datetime | None = connection.execute(since).scalar()
    other = device.installation_id not in (None, inventory.installation_id)
    if other and first_at is not None and origin.enqueued_at <= first_at:
        return Outcome(STALE, "sent before the device's present installation was first heard of")
    return None


def _seen_before(connection: Connection, device_id: str, installation_id: str) -> bool:
    query = select(device_installations.c.sequence).where(
        device_installations.c.device_id == device_id,
        device_installations.c.installation_id == installation_id,
    )
    return connection.execute(query).first() is not None


def _take(connection: Connection, device: Device, origin: Origin, inventory: Inventory, max_attempts: int) -> None:
    at = origin.enqueued_at
    present = {image.image_id: image for image in inventory.images}
    _describe(connection, device, inventory, at)
    _confirm_images(connection, device.device_id, present, at)
    _repeat_results(connection, device.device_id, inventory, at, max_attempts)
    _finish_present(connection, device.device_id, present, at)
    _send_again_lost(connection, device.device_id, set(present), at)
    _forget_plans(connection, device.device_id, set(present))


def _describe(connection: Connection, device: Device, inventory: Inventory, at: datetime) -> None:
    values: dict[str, Any] = {
        "installation_id": inventory.installation_id,
        "platform": inventory.platform,
        "also_runs": list(inventory.also_runs or ()),
        "profiles": list(inventory.profiles),
        "trusted_keys": list(inventory.trusted_keys),
        "free_disk_bytes": inventory.free_disk_bytes,
        "last_inventory_at": at,
    }
    update_device(connection, device.device_id, **values)
    current = find_device(connection, device.device_id) or device
    if current.state == "enrolled":
        move_device(connection, current, "active", DEVICE)
    this = (
        device_installations.c.device_id == device.device_id,
        device_installations.c.installation_id == inventory.installation_id,
    )
    seen = {"sequence": inventory.sequence, "last_at": at}
    if not connection.execute(device_installations.update().where(*this).values(**seen)).rowcount:
        connection.execute(
            device_installations.insert().values(
                device_id=device.device_id, installation_id=inventory.installation_id, first_at=at, **seen
            )
        )


def _confirm_images(connection: Connection, device_id: str, present: dict[str, PresentImage], at: datetime) -> None:
    """Replace what was confirmed before; an inventory is whole."""
    connection.execute(device_images.delete().where(device_images.c.device_id == device_id))
    rows = [
        {
            "device_id": device_id,
            "image_id": image.image_id,
            "references": list(image.references),
            "local_digest": image.local_digest,
            "seen_at": at,
        }
        for image in present.values()
    ]
    if rows:
        connection.execute(device_images.insert(), rows)


def _repeat_results(
    connection: Connection, device_id: str, inventory: Inventory, at: datetime, max_attempts: int
) -> None:
    """What reports would have said, had they arrived."""
    for result in sorted(inventory.results, key=lambda result: (result.attempt, result.sequence)):
        for transfer in fetch_transfers(
            connection,
            transfers.c.transfer_id == result.transfer_id,
            transfers.c.device_id == device_id,
            transfers.c.image_id == result.image_id,
        ):
            apply_told(connection, transfer, Told(result, "inventory", at, max_attempts))


def _finish_present(connection: Connection, device_id: str, present: dict[str, PresentImage], at: datetime) -> None:
    """An image that is there has arrived, whatever its transfer was thought to be doing."""
    unfinished = sorted(ACTIVE_TRANSFER | {"failed"})
    for transfer in fetch_transfers(
        connection,
        transfers.c.device_id == device_id,
        transfers.c.state.in_(unfinished),
        (transfers.c.state != "failed") | wanted_by_a_member(transfers.c.transfer_id),
    ):
        if (image := present.get(transfer.image_id)) is None:
            continue
        if transfer.state == "failed" and active_transfer(connection, device_id, transfer.image_id):
            continue
        move_transfer(
            connection,
            transfer,
            "succeeded",
            DEVICE,
            at,
            who="inventory",
            evidence_at=at,
            local_digest=image.local_digest or transfer.local_digest,
        )


def _send_again_lost(connection: Connection, device_id: str, present: set[str], at: datetime) -> None:
    """Images that had arrived and are gone are sent again to members that are not released yet."""
    where = (
        transfers.c.device_id == device_id,
        transfers.c.state.in_(sorted(ON_DEVICE)),
        transfers.c.evidence_at.is_(None) | (transfers.c.evidence_at < at),
        _wanted_unreleased(),
    )
    for transfer in fetch_transfers(connection, *where):
        if transfer.image_id not in present:
            _send_again(connection, transfer, at, "the image is gone from the device")


def forget_everything(
    connection: Connection, device: Device, at: datetime, keep: set[str], who: str = "inventory"
) -> None:
    """The hardware is another one: nothing that was on the way or arrived is there, but for ``keep``."""
    connection.execute(device_images.delete().where(device_images.c.device_id == device.device_id))
    twin_changed(connection, [device.device_id])
    gone = sorted((ACTIVE_TRANSFER | ON_DEVICE) - {"queued"})
    of_device = transfers.c.device_id == device.device_id
    for transfer in fetch_transfers(connection, of_device, transfers.c.state.in_(gone), _wanted_unreleased()):
        if transfer.image_id not in keep:
            _send_again(connection, transfer, at, "the device was replaced", who)
    orphans = sorted(ACTIVE_TRANSFER - {"queued"})
    for transfer in fetch_transfers(connection, of_device, transfers.c.state.in_(orphans)):
        move_transfer(connection, transfer, "cancelled", DEVICE, at, detail="the device was replaced", who=who)
    _forget_plans(connection, device.device_id, present=set())


def _forget_plans(connection: Connection, device_id: str, present: set[str]) -> None:
    """What waits to be sent from a source that is not there is planned anew, before it costs a byte."""
    where = (transfers.c.device_id == device_id, transfers.c.state == "queued", transfers.c.sources.is_not(None))
    for transfer in fetch_transfers(connection, *where):
        if not present.issuperset(transfer.sources or ()):
            connection.execute(
                transfers.update()
                .where(transfers.c.transfer_id == transfer.transfer_id, transfers.c.state == "queued")
                .values(**UNPLANNED)
            )


def _send_again(connection: Connection, transfer: Transfer, at: datetime, detail: str, who: str = "inventory") -> None:
    other = active_transfer(connection, transfer.device_id, transfer.image_id)
    if other is not None and other.transfer_id != transfer.transfer_id:
        relink(connection, transfer, other)
        transfer = other
    else:
        requeue(connection, transfer, TIMER, at, detail=detail, refused_sources=[], who=who)
    for set_id in _ready_members(connection, transfer):
        move_member(connection, set_id, transfer.device_id, "ready", "in_transit", TIMER, at, detail=detail, who=who)


def _ready_members(connection: Connection, transfer: Transfer) -> list[str]:
    query = (
        select(members.c.set_id)
        .join(
            member_transfers,
            (member_transfers.c.set_id == members.c.set_id) & (member_transfers.c.device_id == members.c.device_id),
        )
        .where(member_transfers.c.transfer_id == transfer.transfer_id, members.c.state == "ready")
    )
    return list(connection.execute(query).scalars())


def _wanted_unreleased() -> Any:
    return wanted_by_a_member(transfers.c.transfer_id, UNRELEASED_MEMBER)
