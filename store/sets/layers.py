"""Layers that were made in hubs: which there are, and when one may go.

A layer is wanted before any device's tag names it, and it leaves once no device stands in it: every one has been put
into a newer one a while ago. While it leaves nobody may want it, so that it is not taken away under a tag that was
written meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, exists, func, or_, select

from contracts.records import Release
from services.store_port import HubLayer
from store.kernel.schema import devices, hub_layers, releases, sets

MOST_OF_A_SET = 8
"""Layers of one set in one hub: devices of more kinds than that are not alike. A hub has 100 in all."""
GRACE = timedelta(days=1)
"""From a device's being put into another layer to the first day on which the one before may go: IoT Hub comes to
devices minutes after their tags have changed, and would take the modules away meanwhile."""


MAKING = timedelta(minutes=1)
"""From somebody's wanting to make it to somebody else's: a hub takes few such requests a minute."""


def want(connection: Connection, layer: HubLayer, at: datetime) -> str:
    """``made``; ``make`` it first; ``wait``: others make it or take it away; ``too_many``: its set has more than
    devices that are alike need.

    Two who want the same new one at once: the second's insert fails and its transaction is run again.
    """
    this = _this(layer.hub, layer.layer_id)
    row = connection.execute(select(hub_layers).where(this)).mappings().first()
    if row is not None and _is_busy(row, at):
        return "wait"
    if row is not None:
        wanted = {"wanted_at": at, "look_at": None, "leaves_until": None}
        connection.execute(hub_layers.update().where(this).values(**wanted))
        return "made" if row["made_at"] is not None else "make"
    of_set = (hub_layers.c.hub == layer.hub, hub_layers.c.set_id == layer.set_id)
    number = connection.execute(select(func.count()).select_from(hub_layers).where(*of_set)).scalar_one()
    if number >= MOST_OF_A_SET:
        return "too_many"
    connection.execute(hub_layers.insert().values(**vars(layer), wanted_at=at))
    return "make"


def _is_busy(row: RowMapping, at: datetime) -> bool:
    if row["leaves_until"] is not None and row["leaves_until"] > at:
        return True
    is_new: bool = row["made_at"] is None and row["wanted_at"] > at - MAKING
    return is_new


def made(connection: Connection, hub: str, layer_id: str, at: datetime) -> None:
    connection.execute(hub_layers.update().where(_this(hub, layer_id)).values(made_at=at))


def left_behind(connection: Connection, release: Release, at: datetime) -> None:
    """The device is in this layer now, or has got its modules without one: others may have no device any more."""
    others = (hub_layers.c.hub == release.hub, hub_layers.c.workstream == release.workstream)
    before = (hub_layers.c.layer_id != release.layer_id,) if release.layer_id else ()
    unmarked = (hub_layers.c.look_at.is_(None), *others, *before)
    connection.execute(hub_layers.update().where(*unmarked).values(look_at=at + GRACE))


def due(connection: Connection, at: datetime, limit: int) -> tuple[tuple[str, str], ...]:
    query = select(hub_layers.c.hub, hub_layers.c.layer_id).where(hub_layers.c.look_at <= at)
    rows = connection.execute(query.order_by(hub_layers.c.look_at).limit(limit))
    return tuple((hub, layer_id) for hub, layer_id in rows)


def claim_leaving(connection: Connection, hub: str, layer_id: str, lease: timedelta, at: datetime) -> bool:
    """Whether it may be taken away until the lease is over. One that is in use is not due any more."""
    this = (_this(hub, layer_id), hub_layers.c.look_at <= at)
    idle = and_(hub_layers.c.wanted_at <= at - GRACE, ~_stands(hub, layer_id, at))
    leaves = {"leaves_until": at + lease, "look_at": at + lease}
    if connection.execute(hub_layers.update().where(*this, idle).values(**leaves)).rowcount:
        return True
    later = {"look_at": at + GRACE} if _is_leaving_soon(connection, hub, layer_id, at) else {"look_at": None}
    connection.execute(hub_layers.update().where(*this).values(**later))
    return False


def gone(connection: Connection, hub: str, layer_id: str) -> None:
    leaving = hub_layers.c.leaves_until.is_not(None)
    connection.execute(hub_layers.delete().where(_this(hub, layer_id), leaving))


def put_off(connection: Connection, hub: str, layer_id: str, until: datetime) -> None:
    connection.execute(hub_layers.update().where(_this(hub, layer_id)).values(look_at=until))


def _stands(hub: str, layer_id: str, at: datetime) -> ColumnElement[bool]:
    """A device in service was put into it, and into no newer one of the workstream for the time of grace."""
    newer, its_set, of = releases.alias(), sets.alias(), sets.alias()
    replaced = exists().where(
        newer.c.device_id == releases.c.device_id,
        newer.c.workstream == releases.c.workstream,
        newer.c.released_at <= at - GRACE,
        its_set.c.set_id == newer.c.set_id,
        its_set.c.ordinal > of.c.ordinal,
    )
    return exists().where(
        releases.c.layer_id == layer_id,
        releases.c.hub == hub,
        of.c.set_id == releases.c.set_id,
        devices.c.device_id == releases.c.device_id,
        devices.c.state != "retired",
        ~replaced,
    )


def _is_leaving_soon(connection: Connection, hub: str, layer_id: str, at: datetime) -> bool:
    """In use only as long as the grace of what was wanted or released lately lasts."""
    lately = or_(hub_layers.c.wanted_at > at - GRACE, ~_stands(hub, layer_id, at + GRACE))
    query = select(hub_layers.c.layer_id).where(_this(hub, layer_id), lately)
    return connection.execute(query.limit(1)).first() is not None


def _this(hub: str, layer_id: str) -> ColumnElement[bool]:
    return and_(hub_layers.c.hub == hub, hub_layers.c.layer_id == layer_id)
