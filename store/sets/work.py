"""What is left to do, asked of SQL: the questions with which timer and orchestrators find their work."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from contracts.states import OPEN_SET, UNPLANNED_MEMBER, UNSENT
from store.kernel.schema import devices, member_transfers, members, sets, transfers
from store.sets.rows import open_sets_of_device

ALWAYS_DRIVEN = ("accepted", "planning", "preparing")
DRIVEN = tuple(sorted(OPEN_SET - {"awaiting_approval"}))


def needing_drive(connection: Connection, limit: int) -> tuple[str, ...]:
    query = (
        select(sets.c.set_id)
        .where(
            or_(
                sets.c.state.in_(ALWAYS_DRIVEN),
                and_(sets.c.state.in_(DRIVEN), or_(_to_plan(sets.c.set_id), _to_send(sets.c.set_id))),
            )
        )
        .order_by(sets.c.ordinal)
        .limit(limit)
    )
    return tuple(connection.execute(query).scalars())


def has_work(connection: Connection, set_id: str) -> bool:
    """Whether anything of the set can be planned, built or published right now."""
    query = select(sets.c.set_id).where(sets.c.set_id == set_id, or_(_to_plan(set_id), _to_send(set_id)))
    return connection.execute(query).first() is not None


def sets_with_work(connection: Connection, device_id: str) -> tuple[str, ...]:
    """Open sets of the device for which anything can be done right now."""
    return tuple(set_id for set_id in open_sets_of_device(connection, device_id) if has_work(connection, set_id))


def _to_plan(set_id: Any) -> ColumnElement[bool]:
    """A member without a plan whose device has told what it has."""
    return exists().where(
        members.c.set_id == set_id,
        members.c.state.in_(sorted(UNPLANNED_MEMBER)),
        devices.c.device_id == members.c.device_id,
        devices.c.state == "active",
    )


def _to_send(set_id: Any) -> ColumnElement[bool]:
    """A transfer on this side of the link, to a device that can be sent to."""
    return exists().where(
        member_transfers.c.set_id == set_id,
        members.c.set_id == member_transfers.c.set_id,
        members.c.device_id == member_transfers.c.device_id,
        members.c.state == "in_transit",
        transfers.c.transfer_id == member_transfers.c.transfer_id,
        transfers.c.state.in_(sorted(UNSENT)),
        devices.c.device_id == members.c.device_id,
        devices.c.state == "active",
    )
