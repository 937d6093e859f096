"""What the hubs say of their devices: read page by page, and where a reading has come to.

A page is one short transaction of a few statements, whatever it changes; a reading that died goes on behind its last
page, and one whose marker the hub does not know any more begins anew. Source: docs/schema.md, "Reading the hubs".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select

from contracts.requests import EnrolDevice
from services.store_port import HubDevice, PageOutcome, ReadingClaim
from store.devices.rows import device_records
from store.devices.silence import expect
from store.kernel.engine import Database
from store.kernel.schema import device_tags, devices, hub_readings
from store.kernel.tools import chunks, rows_in

YOUNG = timedelta(hours=1)
"""A device that was enrolled so lately may not be in the index that a hub answers from."""


@dataclass(frozen=True)
class _Page:
    hub: str
    seen: Mapping[str, HubDevice]
    """By id in the hub."""
    known: Mapping[str, Any]
    """Its devices, by id in the hub."""


class SqlHubs:
    """Implements services.store_port.Hubs."""

    def __init__(self, database: Database, silent_after: timedelta) -> None:
        self._db = database
        self._silent_after = silent_after

    def expect(self, hubs: Collection[str], at: datetime) -> None:
        known = set(self._db.read(lambda connection: connection.execute(_READ).scalars().all()))
        if known != set(hubs):
            self._db.write(lambda connection: _expect(connection, set(hubs), at))

    def to_read(self, at: datetime) -> tuple[str, ...]:
        query = select(hub_readings.c.hub).where(hub_readings.c.read_at <= at).order_by(hub_readings.c.read_at)
        return tuple(self._db.read(lambda connection: connection.execute(query).scalars().all()))

    def claim(self, hub: str, lease: timedelta, at: datetime) -> ReadingClaim | None:
        return self._db.write(lambda connection: _claim(connection, hub, at + lease, at))

    def record(
        self, claim: ReadingClaim, seen: Sequence[HubDevice], enrol: Mapping[str, EnrolDevice], at: datetime
    ) -> PageOutcome:
        return self._db.write(lambda connection: _record(connection, claim, seen, enrol, at, self._silent_after))

    def go_on(self, claim: ReadingClaim, after: str, at: datetime) -> None:
        self._mark(claim, read_at=at, after=after, tries=0)

    def begin_anew(self, claim: ReadingClaim, at: datetime) -> None:
        self._mark(claim, read_at=at, after=None, began_at=None)

    def end(self, claim: ReadingClaim, next_at: datetime, at: datetime) -> int:
        return self._db.write(lambda connection: _end(connection, claim, next_at, at))

    def failed(self, claim: ReadingClaim, code: str, detail: str, until: datetime) -> None:
        self._mark(claim, read_at=until, code=code, detail=detail)

    def put_off(self, hub: str, until: datetime) -> None:
        this = hub_readings.c.hub == hub
        self._db.write(lambda connection: connection.execute(hub_readings.update().where(this).values(read_at=until)))

    def _mark(self, claim: ReadingClaim, **values: Any) -> None:
        """Only for whoever still has it."""
        this = (hub_readings.c.hub == claim.hub, hub_readings.c.read_at == claim.until)
        self._db.write(lambda connection: connection.execute(hub_readings.update().where(*this).values(**values)))


_READ = select(hub_readings.c.hub).where(hub_readings.c.read_at.is_not(None))


def _expect(connection: Connection, hubs: set[str], at: datetime) -> None:
    known = dict(connection.execute(select(hub_readings.c.hub, hub_readings.c.read_at)).all())
    blank = {"tries": 0, "began_at": None, "after": None}
    for hub in sorted(hubs - known.keys()):
        connection.execute(hub_readings.insert().values(hub=hub, read_at=at, **blank))
    for hub in sorted(known):
        if (hub in hubs) != (known[hub] is not None):
            read_at = at if hub in hubs else None
            connection.execute(hub_readings.update().filter_by(hub=hub).values(read_at=read_at, **blank))


def _claim(connection: Connection, hub: str, until: datetime, at: datetime) -> ReadingClaim | None:
    this = (hub_readings.c.hub == hub, hub_readings.c.read_at <= at)
    taken = {
        "read_at": until,
        "tries": hub_readings.c.tries + 1,
        "began_at": func.coalesce(hub_readings.c.began_at, at),
    }
    if not connection.execute(hub_readings.update().where(*this).values(**taken)).rowcount:
        return None
    row = connection.execute(select(hub_readings).where(hub_readings.c.hub == hub)).mappings().one()
    return ReadingClaim(hub, until, row["began_at"], row["after"], row["tries"])


def _record(
    connection: Connection,
    claim: ReadingClaim,
    seen: Sequence[HubDevice],
    enrol: Mapping[str, EnrolDevice],
    at: datetime,
    silent_after: timedelta,
) -> PageOutcome:
    by_id = {one.hub_device_id: one for one in seen}
    query = select(devices).where(devices.c.hub == claim.hub, devices.c.state != "retired")
    rows = rows_in(connection, query, devices.c.hub_device_id, by_id)
    page = _Page(claim.hub, by_id, {one.hub_device_id: one for one in device_records(connection, rows)})
    for part in chunks(device.device_id for device in page.known.values()):
        here = {"hub_seen_at": claim.began_at, "missing_since": None}
        connection.execute(devices.update().where(devices.c.device_id.in_(part)).values(**here))
    changed = _take_tags(connection, page)
    new, taken = _enrol(connection, page, enrol, claim.began_at, at)
    since = {device.device_id: device.heard_at or device.enrolled_at for device in changed}
    expect(connection, since | dict.fromkeys(new, at), silent_after)
    return PageOutcome(enrolled=new, changed=tuple(device.device_id for device in changed), taken=taken)


def _take_tags(connection: Connection, page: _Page) -> list[Any]:
    changed = [device for name, device in page.known.items() if page.seen[name].tags != dict(device.tags)]
    for part in chunks(device.device_id for device in changed):
        connection.execute(device_tags.delete().where(device_tags.c.device_id.in_(part)))
    _insert_tags(connection, {device.device_id: page.seen[device.hub_device_id].tags for device in changed})
    return changed


def _enrol(
    connection: Connection, page: _Page, enrol: Mapping[str, EnrolDevice], began_at: datetime, at: datetime
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who is new, and who would be if its id were free: that one is another device already."""
    wanted = {name: order for name, order in enrol.items() if name not in page.known}
    taken = {row["device_id"] for row in rows_in(connection, select(devices.c.device_id), devices.c.device_id, wanted)}
    new = {name: order for name, order in sorted(wanted.items()) if name not in taken}
    rows: list[dict[str, Any]] = [
        {
            "device_id": name,
            "state": "enrolled",
            "hub": page.hub,
            "hub_device_id": name,
            "platform": order.platform,
            "also_runs": [],
            "registry_address": order.registry_address,
            "profiles": [],
            "trusted_keys": [],
            "bundle_forms": [],
            "enrolled_at": at,
            "resync": 0,
            "last_number": 0,
            "sync_at": at,
            "sync_tries": 0,
            "hub_seen_at": began_at,
            "locks": 0,
        }
        for name, order in new.items()
    ]
    if rows:
        connection.execute(devices.insert(), rows)
        _insert_tags(connection, {name: page.seen[name].tags for name in new})
    return tuple(new), tuple(sorted(taken))


def _insert_tags(connection: Connection, tags: Mapping[str, Mapping[str, str]]) -> None:
    rows = [
        {"device_id": device_id, "name": name, "value": value}
        for device_id, of_device in sorted(tags.items())
        for name, value in sorted(of_device.items())
    ]
    if rows:
        connection.execute(device_tags.insert(), rows)


def _end(connection: Connection, claim: ReadingClaim, next_at: datetime, at: datetime) -> int:
    """Whoever was not on any page is not in the hub, or has not the module there."""
    this = (hub_readings.c.hub == claim.hub, hub_readings.c.read_at == claim.until)
    done = {
        "read_at": next_at,
        "tries": 0,
        "began_at": None,
        "after": None,
        "ended_at": at,
        "code": None,
        "detail": None,
    }
    if not connection.execute(hub_readings.update().where(*this).values(**done)).rowcount:
        return 0
    unseen = (
        devices.c.hub == claim.hub,
        devices.c.state != "retired",
        devices.c.missing_since.is_(None),
        devices.c.enrolled_at < claim.began_at - YOUNG,
        or_(devices.c.hub_seen_at.is_(None), devices.c.hub_seen_at < claim.began_at),
    )
    return connection.execute(devices.update().where(*unseen).values(missing_since=at)).rowcount
