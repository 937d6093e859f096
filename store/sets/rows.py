"""Set and member rows as records: the reading half that orders, plans, settling and releases share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, select

from contracts.records import DeploymentSet, Member
from contracts.states import OPEN_SET, WANTING
from store.kernel.schema import member_transfers, members, sets
from store.kernel.tools import as_record, unknown


def find_set(connection: Connection, set_id: str) -> DeploymentSet | None:
    row = connection.execute(select(sets).where(sets.c.set_id == set_id)).mappings().first()
    return as_record(DeploymentSet, row) if row else None


def known_set(connection: Connection, set_id: str) -> DeploymentSet:
    """Raises: RequestError ``request.not_found`` (404)."""
    record = find_set(connection, set_id)
    if record is None:
        raise unknown("set", set_id)
    return record


def members_of(connection: Connection, set_id: str) -> tuple[Member, ...]:
    query = select(members).where(members.c.set_id == set_id).order_by(members.c.device_id)
    return tuple(as_record(Member, row) for row in connection.execute(query).mappings())


def known_member(connection: Connection, set_id: str, device_id: str) -> Member:
    """Raises: RequestError ``request.not_found`` (404)."""
    query = select(members).where(this_member(set_id, device_id))
    row = connection.execute(query).mappings().first()
    if row is None:
        raise unknown("member", f"{device_id} in {set_id}")
    return as_record(Member, row)


def this_member(set_id: str, device_id: str) -> ColumnElement[bool]:
    return and_(members.c.set_id == set_id, members.c.device_id == device_id)


def wanted_by_a_member(
    transfer_id: Any, states: Collection[str] = WANTING, of_sets: Collection[str] = OPEN_SET
) -> ColumnElement[bool]:
    """EXISTS: a member in one of ``states`` linked to the transfer (a column or a value), its set in ``of_sets``.

    The tables are named anew, so that a query around it that joins them too is not taken for it.
    """
    links, its_members, its_sets = member_transfers.alias(), members.alias(), sets.alias()
    return exists().where(
        links.c.transfer_id == transfer_id,
        its_members.c.set_id == links.c.set_id,
        its_members.c.device_id == links.c.device_id,
        its_members.c.state.in_(sorted(states)),
        its_sets.c.set_id == its_members.c.set_id,
        its_sets.c.state.in_(sorted(of_sets)),
    )


def open_sets_of_device(connection: Connection, device_id: str, states: frozenset[str] = WANTING) -> tuple[str, ...]:
    """Open sets with a member on this device in one of ``states``, oldest first."""
    query = (
        select(sets.c.set_id)
        .join(members, members.c.set_id == sets.c.set_id)
        .where(
            members.c.device_id == device_id,
            members.c.state.in_(sorted(states)),
            sets.c.state.in_(sorted(OPEN_SET)),
        )
        .order_by(sets.c.ordinal)
    )
    return tuple(connection.execute(query).scalars())
