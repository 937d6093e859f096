"""What is left to do, asked of SQL: the questions with which timer and orchestrators find their work."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, false, or_, select

from contracts.states import OPEN_SET, STARTED_SET, UNPLANNED_MEMBER, UNSENT
from store.kernel.schema import devices, member_transfers, members, sets, transfers


def needing_settle(connection: Connection, at: datetime, limit: int) -> tuple[str, ...]:
    """Those settled longest ago first, so that a limit starves none."""
    past_deadline = and_(sets.c.state.in_(sorted(OPEN_SET)), sets.c.overdue == false(), sets.c.deadline <= at)
    withdrawn = and_(sets.c.state == "cancelled", sets.c.settle_at <= at)
    query = (
        select(sets.c.set_id)
        .where(or_(sets.c.state.in_(sorted(STARTED_SET)), past_deadline, withdrawn))
        .order_by(sets.c.settled_at, sets.c.ordinal)
        .limit(limit)
    )
    return tuple(connection.execute(query).scalars())


def has_work(connection: Connection, set_id: str) -> bool:
    """Whether anything of the set can be planned, built or published right now."""
    query = select(sets.c.set_id).where(sets.c.set_id == set_id, or_(_to_plan(set_id), _to_send(set_id)))
    return connection.execute(query).first() is not None


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
