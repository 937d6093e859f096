"""What people ask of a whole set, counted in SQL: members by state, who is in trouble and why, what is waited for."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, RowMapping, func, or_, select

from contracts.records import Member, MemberShown, Page, Trouble, Unregistered, Waiting
from contracts.states import BEFORE_ARRIVAL, SILENT, STANDING, stage_of, waits_for
from store.kernel.paging import fetch_page
from store.kernel.schema import devices, member_transfers, members, patches, sets, transfers
from store.kernel.tools import as_record
from store.sets.figures import figures_of_members
from store.sets.rows import known_set

NAMED = 20
"""Devices named for one trouble."""
KINDS_SHOWN = 20
"""Different images that are warned of."""


def member_states(connection: Connection, set_id: str) -> dict[str, int]:
    query = (
        select(members.c.state, func.count().label("members"))
        .where(members.c.set_id == set_id)
        .group_by(members.c.state)
    )
    return {row.state: row.members for row in connection.execute(query.order_by(members.c.state))}


def stages(connection: Connection, set_id: str) -> dict[str, int]:
    query = (
        select(transfers.c.state, patches.c.state, func.count())
        .select_from(member_transfers.join(transfers).outerjoin(patches, patches.c.patch_id == transfers.c.patch_id))
        .where(member_transfers.c.set_id == set_id)
        .group_by(transfers.c.state, patches.c.state)
    )
    found: dict[str, int] = {}
    for state, patch, count in connection.execute(query):
        stage = stage_of(state, patch)
        found[stage] = found.get(stage, 0) + count
    return dict(sorted(found.items()))


def troubles(connection: Connection, set_id: str, states: Collection[str]) -> tuple[Trouble, ...]:
    alike = (members.c.state, members.c.code)
    ranked = (
        select(
            *alike,
            members.c.device_id,
            members.c.detail,
            func.count().over(partition_by=alike).label("devices"),
            func.row_number().over(partition_by=alike, order_by=members.c.device_id).label("place"),
        )
        .where(members.c.set_id == set_id, members.c.state.in_(sorted(states)))
        .subquery()
    )
    query = select(ranked).where(ranked.c.place <= NAMED)
    query = query.order_by(ranked.c.devices.desc(), ranked.c.state, ranked.c.code, ranked.c.place)
    found: dict[tuple[str, str | None], Trouble] = {}
    for row in connection.execute(query):
        known = found.get((row.state, row.code))
        named = (*known.named, row.device_id) if known else (row.device_id,)
        detail = known.detail if known else row.detail
        found[row.state, row.code] = Trouble(row.state, row.code, detail, row.devices, named)
    return tuple(found.values())


def waiting(connection: Connection, set_id: str) -> tuple[Waiting, ...]:
    """Most devices first. Grouped by what the code follows from; there are few of those."""
    silent = or_(devices.c.state.in_(sorted(SILENT)), devices.c.twin_code.is_not(None))
    query = (
        select(devices.c.state, devices.c.twin_code, func.count(), func.min(members.c.device_id))
        .select_from(members.join(devices))
        .where(members.c.set_id == set_id, members.c.state.in_(sorted(BEFORE_ARRIVAL)), silent)
        .group_by(devices.c.state, devices.c.twin_code)
    )
    found: dict[str, Waiting] = {}
    for state, twin_code, count, first in connection.execute(query):
        if (code := waits_for(state, twin_code)) is not None:
            known = found.get(code, Waiting(code, 0, first))
            found[code] = Waiting(code, known.devices + count, min(known.example, first))
    return tuple(sorted(found.values(), key=lambda item: (-item.devices, item.code)))


def members_page(
    connection: Connection, set_id: str, state: str | None, device_id: str | None, limit: int, after: str | None
) -> Page:
    """Of MemberShown, in order of device."""
    query = (
        select(members, devices.c.state.label("device_state"), devices.c.twin_code)
        .select_from(members.join(devices))
        .where(members.c.set_id == set_id)
    )
    if state is not None:
        query = query.where(members.c.state == state)
    if device_id is not None:
        query = query.where(members.c.device_id == device_id)

    def make(connection: Connection, rows: list[RowMapping]) -> list[MemberShown]:
        figures = figures_of_members(connection, set_id, [row["device_id"] for row in rows])
        return [MemberShown(as_record(Member, row), _waits_for(row), figures.get(row["device_id"])) for row in rows]

    return fetch_page(connection, query, (members.c.device_id,), make, limit=limit, after=after)


def _waits_for(row: RowMapping) -> str | None:
    return waits_for(row["device_state"], row["twin_code"]) if row["state"] in BEFORE_ARRIVAL else None


def ran_before(connection: Connection, set_id: str) -> dict[str, str | None]:
    """Three queries, however many sets and devices there are."""
    of = known_set(connection, set_id)
    standing = members.c.state.in_(sorted(STANDING))
    released = select(members.c.device_id).where(members.c.set_id == set_id, standing)
    older = (
        select(members.c.device_id, func.max(sets.c.ordinal))
        .join(sets)
        .where(members.c.device_id.in_(released), standing)
        .where(sets.c.workstream == of.workstream, sets.c.ordinal < of.ordinal, sets.c.manifest.is_not(None))
        .group_by(members.c.device_id)
    )
    newest = {device_id: ordinal for device_id, ordinal in connection.execute(older)}  # noqa: C416  rows are no pairs
    names = select(sets.c.ordinal, sets.c.set_id).where(sets.c.workstream == of.workstream, sets.c.ordinal < of.ordinal)
    set_ids = {ordinal: name for ordinal, name in connection.execute(names)}  # noqa: C416
    device_ids = connection.execute(released.order_by(members.c.device_id)).scalars()
    return {device_id: set_ids.get(newest.get(device_id)) for device_id in device_ids}


def unregistered(connection: Connection, set_id: str) -> tuple[Unregistered, ...]:
    names = (transfers.c.reference, transfers.c.unregistered)
    number = func.count()
    query = (
        select(*names, number, func.min(transfers.c.device_id), func.sum(transfers.c.estimated_bytes))
        .select_from(member_transfers.join(transfers))
        .where(
            member_transfers.c.set_id == set_id,
            transfers.c.unregistered.is_not(None),
            transfers.c.attempt >= member_transfers.c.since_attempt,
            transfers.c.state != "cancelled",
        )
        .group_by(*names)
        .order_by(number.desc(), transfers.c.reference)
        .limit(KINDS_SHOWN)
    )
    return tuple(
        Unregistered(reference, tuple(held), count, example, int(estimated or 0))
        for reference, held, count, example, estimated in connection.execute(query)
    )
