"""The only place where a device's state changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from contracts.records import Device
from contracts.states import DEVICE, DEVICE_STATES
from store.kernel.due import twin_changed
from store.kernel.schema import devices

MAX_REASON = 256


def move_device(connection: Connection, device: Device, new: str, mover: str, at: datetime, **values: Any) -> bool:
    """Move it on from the state that ``device`` shows; its twin is written anew."""
    DEVICE_STATES.check(device.state, new, mover)
    where = (devices.c.device_id == device.device_id, devices.c.state == device.state)
    statement = devices.update().where(*where).values(state=new, **twin_changed(at), **values)
    return connection.execute(statement).rowcount > 0


def hold(connection: Connection, device: Device, reason: str, at: datetime) -> bool:
    """Believe nothing from it and send nothing to it until a person looks."""
    return move_device(connection, device, "held", DEVICE, at, held_reason=reason[:MAX_REASON])
