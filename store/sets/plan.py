"""Planning a set: taking it, finding the members that have to be planned, recording what was decided for them.

A batch of members costs a few statements, whatever its size. Nothing is started here (store.sets.start): what was
recorded is first weighed as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from contracts.states import BEFORE_ARRIVAL, ORCHESTRATOR, PLANNED_SET
from contracts.work import FIRST_PAUSE, pause_after
from services.store_port import Decisions, PlannedMember, PlanningBegun, Range, Unplanned
from store.devices.rows import confirmed_images, device_records
from store.kernel import due
from store.kernel.ledger import Ledger
from store.kernel.schema import devices, member_transfers, members, sets, transfers
from store.kernel.tools import chunks, lock_devices, rows_in
from store.sets.plan_links import link_plans
from store.sets.rows import known_set


def begin_plan(connection: Connection, set_id: str, lease: timedelta, size: int, at: datetime) -> PlanningBegun:
    """What becomes due while it goes on moves ``plan_at`` from the end of the lease, and so outlives ``end_plan``."""
    of = known_set(connection, set_id)
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        state = "planning" if of.state == "accepted" and ledger.set(set_id, "accepted", "planning") else of.state
    claim = at + lease if state in PLANNED_SET else None
    connection.execute(sets.update().where(sets.c.set_id == set_id).values(plan_at=claim))
    return PlanningBegun(state, claim, ranges(connection, _due(set_id, at), size) if claim else ())


def unplanned(connection: Connection, set_id: str, within: Range, at: datetime) -> tuple[Unplanned, ...]:
    query = (
        select(devices)
        .join(members, members.c.device_id == devices.c.device_id)
        .where(_due(set_id, at), members.c.device_id.between(*within))
        .order_by(devices.c.device_id)
    )
    found = device_records(connection, connection.execute(query).mappings().all())
    refused = _refused(connection, set_id, [device.device_id for device in found])
    return tuple(Unplanned(device, refused.get(device.device_id, {})) for device in found)


def is_unplanned(connection: Connection, set_id: str, at: datetime) -> bool:
    query = select(members.c.device_id).where(_due(set_id, at)).limit(1)
    return connection.execute(query).first() is not None


def record_plan(connection: Connection, set_id: str, decisions: Decisions, at: datetime) -> None:
    lock_devices(connection, decisions.device_ids)
    if known_set(connection, set_id).state not in PLANNED_SET:
        return
    states = _states_of_due(connection, set_id, decisions.device_ids)
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        _fail(ledger, set_id, states, decisions.failed)
        _put_off(connection, set_id, states.keys() & set(decisions.put_off), at)
        _wait(connection, set_id, states.keys() & set(decisions.silent))
        fitting = _fitting(connection, [member for member in decisions.planned if member.device_id in states])
        fitting = link_plans(ledger, set_id, fitting)
        _planned(ledger, set_id, states, [member.device_id for member in fitting])
        _note_versions(connection, set_id, fitting)


def end_plan(connection: Connection, set_id: str, claim: datetime, at: datetime) -> None:
    """Members that are due at once are those that could not be planned: they are left alone for a moment."""
    soonest = connection.execute(
        select(func.min(members.c.plan_at)).where(members.c.set_id == set_id, members.c.plan_at.is_not(None))
    ).scalar()
    again = max(soonest, at + FIRST_PAUSE) if soonest else None
    mine = (sets.c.set_id == set_id, sets.c.plan_at == claim)
    connection.execute(sets.update().where(*mine).values(plan_at=again))
    due.settle_sets(connection, [set_id], at)


def to_plan(connection: Connection, at: datetime, limit: int) -> tuple[str, ...]:
    query = select(sets.c.set_id).where(sets.c.plan_at <= at).order_by(sets.c.plan_at, sets.c.set_id).limit(limit)
    return tuple(connection.execute(query).scalars())


def ranges(connection: Connection, these: ColumnElement[bool], size: int) -> tuple[Range, ...]:
    """The members that fit, ``size`` of them in each range."""
    query = select(members.c.device_id).where(these).order_by(members.c.device_id)
    found = connection.execute(query).scalars().all()
    return tuple((part[0], part[-1]) for start in range(0, len(found), size) if (part := found[start : start + size]))


# ---------------------------------------------------------------- reading


def _due(set_id: str, at: datetime) -> ColumnElement[bool]:
    return and_(members.c.set_id == set_id, members.c.plan_at <= at, members.c.state.in_(sorted(BEFORE_ARRIVAL)))


def _states_of_due(connection: Connection, set_id: str, device_ids: Collection[str]) -> dict[str, str]:
    """Of those that nobody has planned meanwhile."""
    query = select(members.c.device_id, members.c.state).where(
        members.c.set_id == set_id, members.c.plan_at.is_not(None), members.c.state.in_(sorted(BEFORE_ARRIVAL))
    )
    return {row["device_id"]: row["state"] for row in rows_in(connection, query, members.c.device_id, device_ids)}


def _refused(
    connection: Connection, set_id: str, device_ids: Collection[str]
) -> dict[str, dict[str, tuple[frozenset[str], int]]]:
    """Of transfers that have lost a source before; the first attempt has refused none."""
    query = (
        select(member_transfers.c.device_id, transfers.c.image_id, transfers.c.refused_sources, transfers.c.attempt)
        .join(transfers, transfers.c.transfer_id == member_transfers.c.transfer_id)
        .where(member_transfers.c.set_id == set_id, transfers.c.attempt > 1)
    )
    found: dict[str, dict[str, tuple[frozenset[str], int]]] = {}
    for row in rows_in(connection, query, member_transfers.c.device_id, device_ids):
        if row["refused_sources"]:
            of_device = found.setdefault(row["device_id"], {})
            of_device[row["image_id"]] = (frozenset(row["refused_sources"]), row["attempt"])
    return found


def _fitting(connection: Connection, planned: Sequence[PlannedMember]) -> list[PlannedMember]:
    """Those whose device still is as it was when they were planned; the others stay to be planned."""
    ids = [member.device_id for member in planned]
    query = select(devices.c.device_id, devices.c.last_inventory_at).where(devices.c.state == "active")
    heard = {row["device_id"]: row["last_inventory_at"] for row in rows_in(connection, query, devices.c.device_id, ids)}
    confirmed = confirmed_images(connection, ids)
    here = {device_id: {image.image_id for image in of_device} for device_id, of_device in confirmed.items()}
    return [
        member
        for member in planned
        if member.device_id in heard
        and heard[member.device_id] == member.inventory_at
        and _is_so(member, here.get(member.device_id, set()))
    ]


def _is_so(member: PlannedMember, here: Collection[str]) -> bool:
    """A report may have taken an image from the device without an inventory."""
    return all(
        item.already_present == (item.image_id in here) and all(source in here for source in item.sources)
        for item in member.transfers
    )


# ---------------------------------------------------------------- writing


def _fail(ledger: Ledger, set_id: str, states: Mapping[str, str], failed: Mapping[str, tuple[str, str]]) -> None:
    alike: dict[tuple[str, str, str], list[str]] = {}
    for device_id, (code, detail) in failed.items():
        if device_id in states:
            alike.setdefault((states[device_id], code, detail), []).append(device_id)
    for (old, code, detail), device_ids in alike.items():
        ledger.members(set_id, device_ids, old, "failed", code=code, detail=detail)


def _put_off(connection: Connection, set_id: str, device_ids: Iterable[str], at: datetime) -> None:
    query = select(members.c.device_id, members.c.tries).where(members.c.set_id == set_id)
    alike: dict[int, list[str]] = {}
    for row in rows_in(connection, query, members.c.device_id, device_ids):
        alike.setdefault(row["tries"] + 1, []).append(row["device_id"])
    for tries, these in alike.items():
        _set_plan(connection, set_id, these, plan_at=at + pause_after(tries), tries=tries)


def _wait(connection: Connection, set_id: str, device_ids: Iterable[str]) -> None:
    """Until their devices are active again, which says so itself (store.devices.states)."""
    _set_plan(connection, set_id, device_ids, plan_at=None)


def _planned(ledger: Ledger, set_id: str, states: Mapping[str, str], device_ids: Collection[str]) -> None:
    """Members in transit are weighed and started once more, with what is planned for them now."""
    for old in sorted(BEFORE_ARRIVAL - {"planned"}):
        moving = [device_id for device_id in device_ids if states[device_id] == old]
        ledger.members(set_id, moving, old, "planned", plan_at=None)
    _set_plan(ledger.connection, set_id, device_ids, plan_at=None, tries=0, updated_at=ledger.at)
    ledger.twins_changed(device_ids)


def _set_plan(connection: Connection, set_id: str, device_ids: Iterable[str], **values: Any) -> None:
    for part in chunks(device_ids):
        these = (members.c.set_id == set_id, members.c.device_id.in_(part))
        connection.execute(members.update().where(*these).values(**values))


def _note_versions(connection: Connection, set_id: str, planned: Iterable[PlannedMember]) -> None:
    """The first plan's stands: what has changed since then is somebody else's."""
    alike: dict[int, list[str]] = {}
    for member in planned:
        alike.setdefault(member.agent_version, []).append(member.device_id)
    for version, device_ids in sorted(alike.items()):
        for part in chunks(device_ids):
            these = (members.c.set_id == set_id, members.c.device_id.in_(part), members.c.agent_version.is_(None))
            connection.execute(members.update().where(*these).values(agent_version=version))
