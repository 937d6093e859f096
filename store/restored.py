"""After the database was restored from a backup: what it believes of devices, and believing less of it.

A device is made one that has not told yet what it has (``enrolled``): so nothing is planned for it or sent to it until
an inventory has said what is so, and that heals the rest as it always does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, literal, select

from contracts.records import Underway
from contracts.states import (
    ACTIVE_TRANSFER,
    API,
    BEFORE_ARRIVAL,
    DEVICE_STATES,
    OPEN_SET,
    PATCH,
    TIMER,
    UNPUBLISHED,
)
from services.store_port import Disbelieved, Remembered
from store.kernel.due import plan_sets, twin_changed
from store.kernel.engine import Database
from store.kernel.ledger import Ledger
from store.kernel.schema import (
    audit,
    bundles,
    devices,
    history,
    image_layers,
    layers,
    member_transfers,
    members,
    patches,
    releases,
    sets,
    transfers,
)
from store.kernel.tools import chunks, lock_devices, rows_in
from store.transfers.rows import fetch_transfers
from store.transfers.withdraw import revoke_bundles

_WHO = "reconcile"
_WHY = "the database was restored: whether this is on its way is not known"


class SqlRestored:
    """Implements services.store_port.Restored."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def newest(self) -> datetime | None:
        return self._db.read(_newest)

    def devices(self, after: str, limit: int) -> tuple[Remembered, ...]:
        return self._db.read(lambda connection: _devices(connection, after, limit))

    def stop(self, number: int, resync: int, at: datetime) -> int:
        return self._db.write(lambda connection: _stop(connection, number, resync, at))

    def disbelieve(self, these: Sequence[Disbelieved], at: datetime) -> int:
        return self._db.write(lambda connection: _disbelieve(connection, these, at))

    def patches(self, after: str, limit: int) -> Mapping[str, str]:
        verified = (patches.c.state == "verified", patches.c.blob.is_not(None), patches.c.patch_id > after)
        query = select(patches.c.patch_id, patches.c.blob).where(*verified).order_by(patches.c.patch_id).limit(limit)
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return {row.patch_id: row.blob for row in rows}

    def lose_patches(self, patch_ids: Sequence[str], at: datetime) -> int:
        return self._db.write(lambda connection: _lose_patches(connection, patch_ids, at))

    def layers(self, after: str, limit: int) -> Sequence[str]:
        query = select(layers.c.diff_id).where(layers.c.diff_id > after).order_by(layers.c.diff_id).limit(limit)
        return self._db.read(lambda connection: connection.execute(query).scalars().all())

    def images_of(self, diff_ids: Sequence[str]) -> Sequence[str]:
        query = select(image_layers.c.image_id)
        rows = self._db.read(lambda connection: rows_in(connection, query, image_layers.c.diff_id, diff_ids))
        return sorted({row["image_id"] for row in rows})


def _newest(connection: Connection) -> datetime | None:
    """Of the last line of the history and of the audit log; their ids grow with time."""
    found: list[datetime] = []
    for table, key in ((history, history.c.event_id), (audit, audit.c.entry_id)):
        at = connection.execute(select(table.c.at).order_by(key.desc()).limit(1)).scalar()
        found += [at] if at is not None else []
    return max(found, default=None)


def _devices(connection: Connection, after: str, limit: int) -> tuple[Remembered, ...]:
    query = (
        select(devices.c.device_id, devices.c.hub, devices.c.hub_device_id)
        .where(devices.c.device_id > after, devices.c.state != "retired")
        .order_by(devices.c.device_id)
        .limit(limit)
    )
    found = {row.device_id: row for row in connection.execute(query).all()}
    versions = _versions(connection, found)
    underway: dict[str, list[Underway]] = {}
    this_attempt = (bundles.c.transfer_id == transfers.c.transfer_id) & (bundles.c.attempt == transfers.c.attempt)
    on_the_way = (
        select(transfers.c.device_id, transfers.c.transfer_id, bundles.c.blob)
        .select_from(transfers.outerjoin(bundles, this_attempt))
        .where(transfers.c.state.in_(sorted(ACTIVE_TRANSFER)))
    )
    for row in rows_in(connection, on_the_way, transfers.c.device_id, found):
        underway.setdefault(row["device_id"], []).append(Underway(row["transfer_id"], row["blob"]))
    return tuple(
        Remembered(device_id, row.hub, row.hub_device_id, versions.get(device_id), tuple(underway.get(device_id, ())))
        for device_id, row in found.items()
    )


def _versions(connection: Connection, device_ids: Collection[str]) -> dict[str, int]:
    """Of members when they were planned and released, and of releases."""
    found: dict[str, int] = {}
    for device, column in (
        (members.c.device_id, members.c.agent_version),
        (members.c.device_id, members.c.released_version),
        (releases.c.device_id, releases.c.version),
    ):
        query = select(device, func.max(column).label("version")).where(column.is_not(None)).group_by(device)
        for row in rows_in(connection, query, device, device_ids):
            found[row["device_id"]] = max(found.get(row["device_id"], 0), int(row["version"]))
    return found


def _stop(connection: Connection, number: int, resync: int, at: datetime) -> int:
    """A device that is held stays so: a person decides."""
    DEVICE_STATES.check("active", DEVICE_STATES.initial, API)
    values: dict[str, Any] = {
        "state": case((devices.c.state == "active", literal(DEVICE_STATES.initial)), else_=devices.c.state),
        "resync": case((devices.c.resync < resync, resync), else_=devices.c.resync + 1),
        "last_number": _at_least(number),
        "desired_digest": None,
        "outbox_renew_after": None,
        **twin_changed(at),
    }
    return connection.execute(devices.update().where(devices.c.state != "retired").values(**values)).rowcount


def _at_least(number: int) -> ColumnElement[int]:
    return case((devices.c.last_number < number, number), else_=devices.c.last_number)


def _disbelieve(connection: Connection, these: Sequence[Disbelieved], at: datetime) -> int:
    lock_devices(connection, (one.device_id for one in these))
    given_up = {transfer_id for one in these for transfer_id in one.given_up}
    still = transfers.c.state.in_(sorted(ACTIVE_TRANSFER))
    found = [
        transfer
        for part in chunks(given_up)
        for transfer in fetch_transfers(connection, transfers.c.transfer_id.in_(part), still)
    ]
    with Ledger(connection, API, at, _WHO) as ledger:
        ledger.transfers(found, "cancelled", detail=_WHY)
        revoke_bundles(ledger, [transfer.transfer_id for transfer in found])
    _plan_anew(connection, [transfer.transfer_id for transfer in found], at)
    if these:
        connection.execute(_RAISE, [{"this": one.device_id, "seen": one.number} for one in these])
    return len(found)


_RAISE = (
    devices.update()
    .where(devices.c.device_id == bindparam("this"), devices.c.last_number < bindparam("seen"))
    .values(last_number=bindparam("seen"))
)


def _plan_anew(connection: Connection, transfer_ids: Collection[str], at: datetime) -> None:
    """Members that are not started yet follow no transfer: they are told."""
    for part in chunks(transfer_ids):
        query = (
            select(members.c.set_id, members.c.device_id)
            .select_from(members.join(member_transfers, _same_member()).join(sets, sets.c.set_id == members.c.set_id))
            .where(
                member_transfers.c.transfer_id.in_(part),
                members.c.state.in_(sorted(BEFORE_ARRIVAL)),
                sets.c.state.in_(sorted(OPEN_SET)),
            )
            .distinct()
        )
        waiting = connection.execute(query).all()
        for set_id in sorted({row.set_id for row in waiting}):
            its = [row.device_id for row in waiting if row.set_id == set_id]
            for these in chunks(its):
                where = (members.c.set_id == set_id, members.c.device_id.in_(these))
                connection.execute(members.update().where(*where).values(plan_at=at))
        plan_sets(connection, {row.set_id for row in waiting}, at)


def _same_member() -> ColumnElement[bool]:
    return (member_transfers.c.set_id == members.c.set_id) & (member_transfers.c.device_id == members.c.device_id)


def _lose_patches(connection: Connection, patch_ids: Sequence[str], at: datetime) -> int:
    PATCH.check("verified", "building", TIMER)
    PATCH.check("building", "requested", TIMER)
    waited_for = select(transfers.c.patch_id).where(
        transfers.c.patch_id == patches.c.patch_id, transfers.c.state.in_(sorted(UNPUBLISHED))
    )
    again = case((waited_for.exists(), literal(at, patches.c.next_try_at.type)), else_=None)
    anew = {"state": "requested", "worker": None, "lease_until": None, "blob": None, "tries": 0, "updated_at": at}
    changed = 0
    for part in chunks(patch_ids):
        where = (patches.c.patch_id.in_(part), patches.c.state == "verified")
        changed += connection.execute(patches.update().where(*where).values(**anew, next_try_at=again)).rowcount
    return changed
