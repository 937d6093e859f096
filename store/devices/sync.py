"""Twins that may lack what the cloud wants: found by ``devices.sync_at``, claimed by moving it to the claim's end.

Whoever changes what a twin should hold sets ``sync_at`` back to that moment (store.kernel.due.sync_devices). So a
change that comes while the twin is being written is not hidden by the mark of the writer, which moves the column on
only while it still shows the claim.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, literal, select

from services.store_port import SyncClaim
from store.devices.rows import device_records
from store.kernel.schema import devices


def due_devices(connection: Connection, at: datetime, limit: int) -> tuple[str, ...]:
    query = select(devices.c.device_id).where(devices.c.sync_at <= at)
    query = query.order_by(devices.c.sync_at, devices.c.device_id).limit(limit)
    return tuple(connection.execute(query).scalars())


def claim(connection: Connection, device_id: str, until: datetime, at: datetime) -> SyncClaim | None:
    """None when it is not due, or somebody else writes it now. One whose writer died is due when its claim is over."""
    this = devices.c.device_id == device_id
    taken = {"sync_at": until, "sync_tries": devices.c.sync_tries + 1}
    if not connection.execute(devices.update().where(this, devices.c.sync_at <= at).values(**taken)).rowcount:
        return None
    row = connection.execute(select(devices).where(this)).mappings().one()
    (device,) = device_records(connection, [row])
    return SyncClaim(device, until, int(row["sync_tries"]))


def synced(
    connection: Connection, claimed: SyncClaim, digest: str, renew_after: datetime | None, code: str | None
) -> None:
    values = {"desired_digest": digest, "outbox_renew_after": renew_after, "twin_code": code, "sync_tries": 0}
    _update(connection, claimed, sync_at=_unless_changed(claimed, renew_after), **values)


def failed(connection: Connection, claimed: SyncClaim, code: str | None, until: datetime) -> None:
    _update(connection, claimed, sync_at=_unless_changed(claimed, until), twin_code=code)


def put_off(connection: Connection, hub: str, until: datetime, at: datetime) -> None:
    """Every device of a hub that does not answer, in one statement."""
    due = (devices.c.hub == hub, devices.c.sync_at <= at)
    connection.execute(devices.update().where(*due).values(sync_at=until))


def _unless_changed(claimed: SyncClaim, then: datetime | None) -> ColumnElement[datetime | None]:
    moved = literal(then, devices.c.sync_at.type)
    return case((devices.c.sync_at == claimed.until, moved), else_=devices.c.sync_at)


def _update(connection: Connection, claimed: SyncClaim, **values: Any) -> None:
    connection.execute(devices.update().where(devices.c.device_id == claimed.device.device_id).values(**values))
