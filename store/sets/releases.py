"""Releases: who may set a device's manifest now, and what was set.

One device is released by one worker at a time, whatever its workstreams: a release reads and writes the
whole of a device's modules. Within a workstream, nothing older goes out after something newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, or_, select

from contracts.records import DeploymentSet, Member, Page, Release
from contracts.states import OPEN_SET, STANDING, TIMER, WANTING
from imagedelta.errors import RequestError
from store.devices.rows import known_device, twin_changed
from store.kernel.engine import Database
from store.kernel.moves import move_member
from store.kernel.paging import each, fetch_page
from store.kernel.schema import members, releases, sets
from store.kernel.tools import as_record, lock_device, lock_set
from store.sets.release_rules import releasable_devices
from store.sets.rows import known_member, known_set, this_member

REFUSALS = ("conflict", "failed", "ready")
CONFIRMATIONS = ("applied", "apply_failed")


class SqlReleases:
    """Implements services.store_port.Releases."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def claim(self, set_id: str, device_id: str, lease: timedelta, at: datetime) -> Member | None:
        return self._db.write(lambda connection: _claim(connection, set_id, device_id, lease, at))

    def record(self, release: Release, at: datetime) -> bool:
        return self._db.write(lambda connection: _record(connection, release, at))

    def refuse(self, set_id: str, device_id: str, state: str, code: str, detail: str, at: datetime) -> bool:
        if state not in REFUSALS:
            raise RequestError(f"a refused release leaves {', '.join(REFUSALS)}, not {state}", code="request.state")
        return self._db.write(
            lambda connection: move_member(
                connection,
                set_id,
                device_id,
                "releasing",
                state,
                TIMER,
                at,
                code=code,
                detail=detail,
                lease_until=None,
            )
        )

    def release(self, set_id: str, device_id: str) -> Release | None:
        where = and_(releases.c.set_id == set_id, releases.c.device_id == device_id)
        found = self._db.read(lambda connection: _fetch(connection, where))
        return found[0] if found else None

    def workstream_modules(self, device_id: str) -> Mapping[str, str]:
        query = (
            select(releases.c.workstream, releases.c.modules)
            .join(sets, sets.c.set_id == releases.c.set_id)
            .where(releases.c.device_id == device_id)
            .order_by(sets.c.ordinal)
        )
        rows = self._db.read(lambda connection: connection.execute(query).all())
        standing = {workstream: modules for workstream, modules in rows}  # noqa: C416  the newest of each wins
        return {module: workstream for workstream, modules in standing.items() for module in modules}

    def list_of_set(self, set_id: str, *, limit: int, after: str | None) -> Page:
        query = select(releases).where(releases.c.set_id == set_id)
        make = each(lambda row: as_record(Release, row))
        return self._db.read(
            lambda connection: fetch_page(connection, query, (releases.c.device_id,), make, limit=limit, after=after)
        )

    def confirm(
        self, set_id: str, device_id: str, state: str, code: str | None, detail: str | None, at: datetime
    ) -> bool:
        if state not in CONFIRMATIONS:
            raise RequestError(f"a release is confirmed as {' or '.join(CONFIRMATIONS)}", code="request.state")

        def work(connection: Connection) -> bool:
            old = known_member(connection, set_id, device_id).state
            if old != "released" and (old, state) != ("apply_failed", "applied"):
                return False
            return move_member(connection, set_id, device_id, old, state, TIMER, at, code=code, detail=detail)

        return self._db.write(work)


def _claim(connection: Connection, set_id: str, device_id: str, lease: timedelta, at: datetime) -> Member | None:
    lock_set(connection, set_id)
    lock_device(connection, device_id)
    of, member = known_set(connection, set_id), known_member(connection, set_id, device_id)
    if known_device(connection, device_id).state != "active" or not releasable_devices(of, [member]):
        return None
    row = connection.execute(select(members).where(this_member(set_id, device_id))).mappings().one()
    if member.state == "releasing" and _leased(row, at):
        return None
    if _newer_on_device(connection, of, device_id):
        _give_way(connection, row, at)
        return None
    if not _device_is_free(connection, of, device_id, at):
        return None
    until = at + lease
    if member.state == "releasing":
        connection.execute(members.update().where(this_member(set_id, device_id)).values(lease_until=until))
    else:
        move_member(connection, set_id, device_id, "ready", "releasing", TIMER, at, lease_until=until)
    return known_member(connection, set_id, device_id)


def _leased(row: RowMapping, at: datetime) -> bool:
    return row["lease_until"] is not None and row["lease_until"] >= at


def _newer_on_device(connection: Connection, of: DeploymentSet, device_id: str) -> bool:
    alive = and_(members.c.state.in_(sorted(WANTING - {"waiting_inventory"})), sets.c.state.in_(sorted(OPEN_SET)))
    query = (
        select(members.c.set_id)
        .join(sets, sets.c.set_id == members.c.set_id)
        .where(
            members.c.device_id == device_id,
            sets.c.workstream == of.workstream,
            sets.c.ordinal > of.ordinal,
            or_(alive, members.c.state.in_(sorted(STANDING))),
        )
    )
    return connection.execute(query.limit(1)).first() is not None


def _give_way(connection: Connection, row: RowMapping, at: datetime) -> None:
    """A member that a newer set overtook is superseded, also when its worker died while releasing."""
    set_id, device_id = row["set_id"], row["device_id"]
    if row["state"] == "releasing":
        move_member(connection, set_id, device_id, "releasing", "ready", TIMER, at, lease_until=None)
    detail = "a newer set of the workstream is on the device or on its way"
    move_member(connection, set_id, device_id, "ready", "superseded", TIMER, at, detail=detail)


def _device_is_free(connection: Connection, of: DeploymentSet, device_id: str, at: datetime) -> bool:
    """No other release runs on the device; an older one of the workstream whose worker died gives way."""
    query = (
        select(members, sets.c.workstream)
        .join(sets, sets.c.set_id == members.c.set_id)
        .where(
            members.c.device_id == device_id,
            members.c.set_id != of.set_id,
            members.c.state == "releasing",
            sets.c.state.in_(sorted(OPEN_SET)),
        )
    )
    others = connection.execute(query).mappings().all()
    if any(_leased(row, at) for row in others):
        return False
    for row in others:
        if row["workstream"] == of.workstream:
            _give_way(connection, row, at)
    return True


def _record(connection: Connection, release: Release, at: datetime) -> bool:
    lock_device(connection, release.device_id)
    moved = move_member(
        connection,
        release.set_id,
        release.device_id,
        "releasing",
        "released",
        TIMER,
        at,
        released_version=release.version,
        released_at=release.released_at,
        lease_until=None,
    )
    if moved:
        connection.execute(releases.insert().values(**_values(release)))
        twin_changed(connection, [release.device_id])
    return moved


def _values(release: Release) -> dict[str, Any]:
    values = dict(vars(release))
    return values | {"modules": list(release.modules)}


def _fetch(connection: Connection, where: Any) -> list[Release]:
    query = select(releases).where(where).order_by(releases.c.device_id)
    return [as_record(Release, row) for row in connection.execute(query).mappings()]
