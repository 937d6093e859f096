"""Who sends a message: held for the transaction, and believed or not by the hub's own connection properties."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam

from contracts.records import Device
from contracts.states import MEMBER, TIMER
from services.store_port import Origin, Outcome
from store.kernel.schema import devices, members
from store.kernel.tools import IDS, as_record, chunks
from store.transfers.accounts import HELD, UNKNOWN

_UNCONFIRMED = MEMBER.leading_to("applied", TIMER)
"""Member states that what runs on the device leads on."""

_TOUCH = devices.update().where(devices.c.device_id.in_(IDS)).values(locks=devices.c.locks + 1).returning(*devices.c)
_CONFIRM = members.update().where(
    members.c.device_id.in_(IDS),
    members.c.state.in_(sorted(_UNCONFIRMED)),
    members.c.next_try_at > bindparam("later"),
)
_SYNC = devices.update().where(
    devices.c.device_id.in_(IDS), devices.c.sync_tries > 0, devices.c.sync_at > bindparam("later")
)


def held_devices(connection: Connection, device_ids: Iterable[str]) -> dict[str, Device]:
    """Hold the rows until commit and read them in the same statement; tags are left out.

    Their transfers, images and members move one transaction at a time.
    """
    found: dict[str, Device] = {}
    for part in chunks(device_ids):
        for row in connection.execute(_TOUCH, {"ids": part}).mappings().all():
            found[row["device_id"]] = as_record(Device, row, tags={})
    return found


def stranger(origin: Origin, device: Device | None, module_id: str) -> Outcome | None:
    """Why a message is not believed; None when it is."""
    if device is None or device.state == "retired":
        return Outcome(UNKNOWN, f"device {origin.device_id} is not enrolled")
    if origin.module_id != module_id:
        return Outcome(UNKNOWN, f"module {origin.module_id} of {origin.device_id} may not report")
    if device.binding != origin.binding:
        return Outcome(UNKNOWN, f"device {origin.device_id} is {device.binding}, not {origin.binding}")
    if device.state == "held":
        return Outcome(HELD, f"device {origin.device_id} is held: {device.held_reason}")
    return None


def heard_from(connection: Connection, device_ids: Iterable[str], at: datetime) -> None:
    """These devices have a link right now: what waited for one is looked at without delay."""
    for part in chunks(device_ids):
        connection.execute(_CONFIRM, {"ids": part, "later": at, "next_try_at": at})
        connection.execute(_SYNC, {"ids": part, "later": at, "sync_at": at})
