"""Devices that are not heard from: ``silent_at`` says until when one is to be, ``silent_since`` that it was not.

Nothing looks for them: a message moves ``silent_at`` on, and the timer finds what it has come to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, or_, select

from contracts.records import Device, Waiting
from contracts.states import BEFORE_ARRIVAL, OPEN_SET
from store.kernel.notices import announce
from store.kernel.schema import device_tags, devices, members, sets
from store.kernel.tools import chunks

TAG = "silent-after-hours"
"""Of a device that may be silent for longer than others, or not so long."""
CODE = "device.silent"
_CLOSE_ENOUGH = timedelta(hours=1)
_MAX_HOURS = 24 * 3660

_HEARD = devices.update().where(
    devices.c.device_id == bindparam("this"), or_(devices.c.heard_at.is_(None), devices.c.heard_at < bindparam("at"))
)
_EXPECT = devices.update().where(devices.c.device_id == bindparam("this"), devices.c.silent_since.is_(None))


def is_news(device: Device, at: datetime) -> bool:
    """Whether a message of then is worth a write: to the hour is close enough, unless the device was missed."""
    return device.heard_at is None or device.silent_since is not None or at - device.heard_at >= _CLOSE_ENOUGH


def heard(connection: Connection, heard_at: Mapping[str, datetime], after: timedelta) -> None:
    """Messages of these devices were sent then; older ones than the last change nothing."""
    own = _own_limits(connection, heard_at)
    rows = [
        {
            "this": device_id,
            "at": at,
            "heard_at": at,
            "silent_at": at + own.get(device_id, after),
            "silent_since": None,
        }
        for device_id, at in sorted(heard_at.items())
    ]
    if rows:
        connection.execute(_HEARD, rows)


def expect(connection: Connection, since: Mapping[str, datetime], after: timedelta) -> None:
    """They were last heard of then, or never were; their tags may be other ones."""
    own = _own_limits(connection, since)
    rows = [{"this": device_id, "silent_at": at + own.get(device_id, after)} for device_id, at in sorted(since.items())]
    if rows:
        connection.execute(_EXPECT, rows)


def unwell(connection: Connection) -> dict[str, int]:
    """Two ranges of an index each, however many are well."""
    of = {"silent": devices.c.silent_since, "missing": devices.c.missing_since}
    counts = {name: select(func.count()).where(since.is_not(None)) for name, since in of.items()}
    return {name: connection.execute(count).scalar_one() for name, count in counts.items()}


def due(connection: Connection, at: datetime, limit: int) -> tuple[str, ...]:
    query = select(devices.c.device_id).where(devices.c.silent_at <= at).order_by(devices.c.silent_at).limit(limit)
    return tuple(connection.execute(query).scalars())


def notice(connection: Connection, device_ids: Sequence[str], at: datetime) -> None:
    """Mark them, and have the owners told who wait for them."""
    concerned: set[str] = set()
    for part in chunks(device_ids):
        these = (devices.c.device_id.in_(part), devices.c.silent_at <= at)
        noticed = list(connection.execute(select(devices.c.device_id).where(*these)).scalars())
        since: dict[Any, Any] = {"silent_since": devices.c.silent_at, "silent_at": None}
        connection.execute(devices.update().where(*these).values(**since))
        concerned.update(_sets_of(connection, noticed))
    for set_id in sorted(concerned):
        announce(connection, set_id, "silent", at)


def put_off(connection: Connection, device_ids: Sequence[str], until: datetime) -> None:
    for part in chunks(device_ids):
        these = (devices.c.device_id.in_(part), devices.c.silent_at < until)
        connection.execute(devices.update().where(*these).values(silent_at=until))


def silent_of_set(connection: Connection, set_id: str) -> tuple[Waiting, ...]:
    """Those that the set still waits for, as one line."""
    query = (
        select(func.count(), func.min(members.c.device_id))
        .select_from(members.join(devices))
        .where(
            members.c.set_id == set_id, members.c.state.in_(sorted(_WAITED_FOR)), devices.c.silent_since.is_not(None)
        )
    )
    count, first = connection.execute(query).one()
    return (Waiting(CODE, count, first),) if count else ()


_WAITED_FOR = BEFORE_ARRIVAL | {"released"}
"""Member states in which the device has to do something yet."""


def _sets_of(connection: Connection, device_ids: Collection[str]) -> Iterable[str]:
    query = (
        select(members.c.set_id)
        .distinct()
        .join(sets, sets.c.set_id == members.c.set_id)
        .where(
            members.c.device_id.in_(device_ids),
            members.c.state.in_(sorted(_WAITED_FOR)),
            sets.c.state.in_(sorted(OPEN_SET)),
        )
    )
    return connection.execute(query).scalars()


def _own_limits(connection: Connection, device_ids: Collection[str]) -> dict[str, timedelta]:
    found: dict[str, timedelta] = {}
    for part in chunks(device_ids):
        query = select(device_tags.c.device_id, device_tags.c.value)
        query = query.where(device_tags.c.device_id.in_(part), device_tags.c.name == TAG)
        for device_id, value in connection.execute(query):
            if value.isascii() and value.isdigit() and 0 < int(value[:6]) <= _MAX_HOURS:
                found[device_id] = timedelta(hours=int(value[:6]))
    return found
