"""Releases: who may set a device's manifest now, and what was set.

One device is released by one worker at a time, whatever its workstreams: a release reads and writes the
whole of a device's modules. Within a workstream, nothing older goes out after something newer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, or_, select

from contracts.records import DeploymentSet, Page, Release
from contracts.states import ALIVE, CONFIRMABLE, OPEN_SET, RELEASABLE, STANDING, TIMER
from contracts.work import pause_after
from imagedelta.errors import RequestError
from services.store_port import Confirmation, HubLayer, MemberClaim, MemberDue
from store.devices.rows import known_device
from store.kernel.due import oldest_first
from store.kernel.engine import Database
from store.kernel.ledger import MAX_DETAIL, Ledger
from store.kernel.moves import move_member
from store.kernel.paging import each, fetch_page
from store.kernel.schema import devices, members, releases, sets
from store.kernel.tools import as_record, lock_device, lock_set
from store.sets import confirmations, layers
from store.sets.release_rules import may_release_to
from store.sets.release_turns import due_to_release
from store.sets.rows import known_member, known_set, this_member

REFUSALS = ("conflict", "failed", "ready")


class SqlReleases:
    """Implements services.store_port.Releases."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._layers = SqlLayers(database)

    @property
    def layers(self) -> SqlLayers:
        return self._layers

    # ------------------------------------------------------------ releasing

    def due(self, at: datetime, limit: int, room: Mapping[str, int] | None = None) -> tuple[MemberDue, ...]:
        return self._db.read(lambda connection: due_to_release(connection, at, limit, room))

    def claim(self, set_id: str, device_id: str, lease: timedelta, at: datetime) -> MemberClaim | None:
        return self._db.write(lambda connection: _claim(connection, set_id, device_id, lease, at))

    def record(self, release: Release, at: datetime) -> bool:
        return self._db.write(lambda connection: _record(connection, release, at))

    def refuse(self, claim: MemberClaim, state: str, code: str, detail: str, at: datetime) -> bool:
        if state not in REFUSALS:
            raise RequestError(f"a refused release leaves {', '.join(REFUSALS)}, not {state}", code="request.state")
        member = claim.member
        later = {"next_try_at": at + pause_after(claim.tries), "tries": claim.tries} if state == "ready" else {}
        values: dict[str, Any] = {"code": code, "detail": detail, "lease_until": None, **later}
        return self._db.write(
            lambda connection: move_member(
                connection, member.set_id, member.device_id, "releasing", state, TIMER, at, **values
            )
        )

    def put_off(
        self,
        set_id: str,
        device_id: str,
        until: datetime,
        *,
        claim: MemberClaim | None = None,
        code: str | None = None,
        detail: str | None = None,
    ) -> None:
        reason = {"code": code, "detail": detail and detail[:MAX_DETAIL]} if code else {}
        self._db.write(lambda connection: _put_off(connection, set_id, device_id, until, claim, reason))

    def put_off_hub(self, hub: str, until: datetime, at: datetime) -> None:
        of_hub = select(devices.c.device_id).where(devices.c.device_id == members.c.device_id, devices.c.hub == hub)
        these = (members.c.state.in_(sorted(RELEASABLE | CONFIRMABLE)), members.c.next_try_at <= at, of_hub.exists())
        self._db.write(lambda connection: connection.execute(members.update().where(*these).values(next_try_at=until)))

    # ------------------------------------------------------------ confirming

    def due_to_confirm(self, at: datetime, limit: int) -> tuple[MemberDue, ...]:
        return self._db.read(lambda connection: _due(connection, CONFIRMABLE, at, limit))

    def claim_confirmations(
        self, these: Collection[MemberDue], lease: timedelta, at: datetime
    ) -> tuple[MemberClaim, ...]:
        return self._db.write(lambda connection: confirmations.claim(connection, these, at + lease, at))

    def of_members(self, claims: Collection[MemberClaim]) -> Mapping[tuple[str, str], Release]:
        return self._db.read(lambda connection: confirmations.releases_of(connection, claims))

    def confirm(self, found: Sequence[Confirmation], at: datetime) -> int:
        return self._db.write(lambda connection: confirmations.record(connection, found, at))

    # ------------------------------------------------------------ reading

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

    def own_versions(self, device_id: str, since: int) -> Mapping[int, int]:
        query = select(releases.c.base_version, releases.c.version).where(
            releases.c.device_id == device_id, releases.c.base_version >= since
        )
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return {base: version for base, version in rows if version > base}

    def list_of_set(self, set_id: str, *, limit: int, after: str | None) -> Page:
        query = select(releases).where(releases.c.set_id == set_id)
        make = each(lambda row: as_record(Release, row))
        return self._db.read(
            lambda connection: fetch_page(connection, query, (releases.c.device_id,), make, limit=limit, after=after)
        )


class SqlLayers:
    """Implements services.store_port.Layers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def want(self, layer: HubLayer, at: datetime) -> str:
        return self._db.write(lambda connection: layers.want(connection, layer, at))

    def made(self, hub: str, layer_id: str, at: datetime) -> None:
        self._db.write(lambda connection: layers.made(connection, hub, layer_id, at))

    def due(self, at: datetime, limit: int) -> tuple[tuple[str, str], ...]:
        return self._db.read(lambda connection: layers.due(connection, at, limit))

    def claim_leaving(self, hub: str, layer_id: str, lease: timedelta, at: datetime) -> bool:
        return self._db.write(lambda connection: layers.claim_leaving(connection, hub, layer_id, lease, at))

    def gone(self, hub: str, layer_id: str) -> None:
        self._db.write(lambda connection: layers.gone(connection, hub, layer_id))

    def put_off(self, hub: str, layer_id: str, until: datetime) -> None:
        self._db.write(lambda connection: layers.put_off(connection, hub, layer_id, until))


def _due(connection: Connection, states: Collection[str], at: datetime, limit: int) -> tuple[MemberDue, ...]:
    query = select(members.c.set_id, members.c.device_id, members.c.next_try_at, devices.c.hub, devices.c.hub_device_id)
    query = query.join(devices, devices.c.device_id == members.c.device_id)
    rows = oldest_first(connection, query, members.c.state, states, members.c.next_try_at, at, limit)
    return tuple(MemberDue(row["set_id"], row["device_id"], row["hub"], row["hub_device_id"]) for row in rows)


def _claim(connection: Connection, set_id: str, device_id: str, lease: timedelta, at: datetime) -> MemberClaim | None:
    """The device first, then the set: so is every lock taken. Whoever is refused is not due any more."""
    lock_device(connection, device_id)
    lock_set(connection, set_id)
    row = connection.execute(select(members).where(this_member(set_id, device_id))).mappings().one()
    if row["state"] not in RELEASABLE or row["next_try_at"] is None or row["next_try_at"] > at:
        return None
    of = known_set(connection, set_id)
    if not may_release_to(of, device_id):
        _wait(connection, row, None)  # settling makes it due again, once it may
        return None
    if _newer_on_device(connection, of, device_id):
        _give_way(connection, row, at)
        return None
    if known_device(connection, device_id).state != "active" or not _device_is_free(connection, of, device_id, at):
        _wait(connection, row, at + pause_after(row["tries"] + 1))
        return None
    return _taken(connection, row, at + lease, at)


def _taken(connection: Connection, row: RowMapping, until: datetime, at: datetime) -> MemberClaim:
    set_id, device_id, tries = row["set_id"], row["device_id"], row["tries"] + 1
    lease = {"lease_until": until, "next_try_at": until, "tries": tries}
    if row["state"] == "releasing":
        connection.execute(members.update().where(this_member(set_id, device_id)).values(**lease))
    else:
        move_member(connection, set_id, device_id, "ready", "releasing", TIMER, at, **lease)
    return MemberClaim(known_member(connection, set_id, device_id), until, tries)


def _wait(connection: Connection, row: RowMapping, until: datetime | None) -> None:
    this = this_member(row["set_id"], row["device_id"])
    connection.execute(members.update().where(this).values(next_try_at=until, tries=members.c.tries + 1))


def _put_off(
    connection: Connection,
    set_id: str,
    device_id: str,
    until: datetime,
    claim: MemberClaim | None,
    reason: Mapping[str, str | None],
) -> None:
    """A claim that was lost to another worker has no say any more."""
    ours = (members.c.lease_until == claim.until,) if claim else ()
    this = (this_member(set_id, device_id), members.c.next_try_at.is_not(None), *ours)
    connection.execute(members.update().where(*this).values(next_try_at=until, lease_until=None, **reason))


def _newer_on_device(connection: Connection, of: DeploymentSet, device_id: str) -> bool:
    alive = and_(members.c.state.in_(sorted(ALIVE)), sets.c.state.in_(sorted(OPEN_SET)))
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
    detail = "a newer set of the workstream is on the device or on its way"
    with Ledger(connection, TIMER, at) as ledger:
        if row["state"] == "releasing":
            ledger.member(set_id, device_id, "releasing", "ready", lease_until=None)
        ledger.member(set_id, device_id, "ready", "superseded", detail=detail)


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


def _leased(row: RowMapping, at: datetime) -> bool:
    return row["lease_until"] is not None and row["lease_until"] >= at


def _record(connection: Connection, release: Release, at: datetime) -> bool:
    lock_device(connection, release.device_id)
    values: dict[str, Any] = {
        "released_version": release.version,
        "released_at": release.released_at,
        "seen_at": None,
        "lease_until": None,
    }
    of, device_id = release.set_id, release.device_id
    moved = move_member(connection, of, device_id, "releasing", "released", TIMER, at, **values)
    if moved:
        connection.execute(releases.insert().values(**_values(release)))
        layers.left_behind(connection, release, at)
    return moved


def _values(release: Release) -> dict[str, Any]:
    values = dict(vars(release))
    return values | {"modules": list(release.modules)}


def _fetch(connection: Connection, where: Any) -> list[Release]:
    query = select(releases).where(where).order_by(releases.c.device_id)
    return [as_record(Release, row) for row in connection.execute(query).mappings()]
