"""Which identity of which hub is which device: the binding, which changes while the device and its history stay.

Of the devices that are not retired, no two have one binding (``uq_devices_binding``). Bindings that were given up are
remembered, so that what still comes under them is known for what it is.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from contracts.records import Device
from contracts.states import API, DEVICE
from imagedelta.errors import RequestError
from services.store_port import Senders
from store.devices.evidence import read_evidence
from store.devices.rows import confirmed_images, update_device
from store.devices.states import move_device
from store.kernel.ledger import Ledger
from store.kernel.schema import devices, old_bindings
from store.kernel.tools import chunks

MOVED = "hub mismatch: moved"
"""Begins the reason of a device that is held until it is heard from under its new binding."""


def senders(connection: Connection, hub: str, hub_device_ids: Collection[str]) -> Senders:
    found: dict[str, str] = {}
    past: set[str] = set()
    for part in chunks(hub_device_ids):
        query = select(devices.c.hub_device_id, devices.c.device_id, devices.c.state)
        query = query.where(devices.c.hub == hub, devices.c.hub_device_id.in_(part))
        for hub_device_id, device_id, state in connection.execute(query):
            if state != "retired" or hub_device_id not in found:
                found[hub_device_id] = device_id
        given_up = select(old_bindings.c.hub_device_id)
        given_up = given_up.where(old_bindings.c.hub == hub, old_bindings.c.hub_device_id.in_(part))
        past.update(connection.execute(given_up).scalars())
    return Senders(found, frozenset(past - found.keys()))


def require_free(connection: Connection, device_id: str, hub: str, hub_device_id: str) -> None:
    """Raises: RequestError ``request.binding_taken`` (409) naming the device that has it."""
    query = select(devices.c.device_id).where(
        devices.c.hub == hub,
        devices.c.hub_device_id == hub_device_id,
        devices.c.state != "retired",
        devices.c.device_id != device_id,
    )
    if (other := connection.execute(query).scalar()) is not None:
        raise RequestError(
            f"{hub_device_id} of hub {hub} is device {other} already", code="request.binding_taken", status=409
        )


def rebind(connection: Connection, device: Device, hub: str, hub_device_id: str, at: datetime, who: str) -> None:
    """The caller holds the device. One that has spoken must speak under its new binding before it is believed again."""
    require_free(connection, device.device_id, hub, hub_device_id)
    _give_up(connection, device, at)
    connection.execute(old_bindings.delete().where(*_this(hub, hub_device_id)))
    reason = f"{MOVED} from {device.hub}/{device.hub_device_id} to {hub}/{hub_device_id}"[:256]
    if device.state == "active":
        move_device(connection, device, "held", API, at, held_reason=reason)
    elif device.state == "held" and (device.held_reason or "").startswith("hub mismatch"):
        update_device(connection, device.device_id, held_reason=reason)
    update_device(
        connection,
        device.device_id,
        hub=hub,
        hub_device_id=hub_device_id,
        desired_digest=None,
        outbox_renew_after=None,
        missing_since=None,
        sync_at=at,
        sync_tries=0,
    )
    if hub_device_id != device.hub_device_id:
        _send_again(connection, device.device_id, at, who)


def _send_again(connection: Connection, device_id: str, at: datetime, who: str) -> None:
    """A bundle is sealed for one identity: what is under way for the old one is of no use to the new."""
    here = {image.image_id for image in confirmed_images(connection, [device_id]).get(device_id, ())}
    evidence = read_evidence(connection, device_id, at)
    evidence.replaced(keep=here, why="the device has another identity in its hub")
    with Ledger(connection, DEVICE, at, who) as ledger:
        ledger.twins_changed([device_id])
        evidence.write(connection, ledger)


def _give_up(connection: Connection, device: Device, at: datetime) -> None:
    values = {"device_id": device.device_id, "ended_at": at}
    this = _this(device.hub, device.hub_device_id)
    if not connection.execute(old_bindings.update().where(*this).values(**values)).rowcount:
        names = {"hub": device.hub, "hub_device_id": device.hub_device_id}
        connection.execute(old_bindings.insert().values(**names, **values))


def _this(hub: str, hub_device_id: str) -> tuple[ColumnElement[bool], ...]:
    return (old_bindings.c.hub == hub, old_bindings.c.hub_device_id == hub_device_id)
