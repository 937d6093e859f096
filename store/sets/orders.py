"""What people and pipelines order of a set: approve, cancel, release, promote, exclude, retry, rebase, skip.

Ordering what is done already changes nothing and answers as the first time did. Devices are held before their set.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from contracts.records import DeploymentSet, Member
from contracts.states import (
    ACTIVE_TRANSFER,
    API,
    ARRIVED,
    BEFORE_ARRIVAL,
    MEMBER,
    NEEDS_APPROVAL,
    ON_DEVICE,
    OPEN_SET,
    OUT,
    RELEASABLE,
    STANDING,
    UNRELEASED_SET,
)
from imagedelta.errors import RequestError
from store.kernel.ledger import Ledger
from store.kernel.moves import move_member, move_set
from store.kernel.schema import member_transfers, members, sets
from store.kernel.tools import lock_devices, lock_set
from store.sets.retry import retry_failed
from store.sets.rows import known_member, known_set
from store.transfers.rows import linked_transfers
from store.transfers.withdraw import withdraw

HELD_BACK = ("failed", NEEDS_APPROVAL)
"""State and code of a member that the cost guard holds back."""
NAMED = 20
"""Devices and images repeated in an error message."""


def approve(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    """Approve the plan, or in a set on its way the devices that were held back for approval."""
    lock_devices(connection, _held_back(connection, set_id))
    of = _locked(connection, set_id)
    held = _held_back(connection, set_id)
    if held and of.state != "awaiting_approval":
        _flagged(connection, of, by, at, "approved", approved_by=by)
        retry_failed(connection, of, held, by, at)
    elif of.approved_by is None or of.state == "awaiting_approval":
        move_set(connection, set_id, of.state, "preparing", API, at, who=by, approved_by=by)
    return known_set(connection, set_id)


def _held_back(connection: Connection, set_id: str) -> list[str]:
    state, code = HELD_BACK
    query = select(members.c.device_id).where(
        members.c.set_id == set_id, members.c.state == state, members.c.code == code
    )
    return list(connection.execute(query.order_by(members.c.device_id)).scalars())


def cancel(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    """The set alone: its members and what was sent for them follow in parts (store.sets.cancel)."""
    of = _locked(connection, set_id)
    if of.state != "cancelled":
        move_set(connection, set_id, of.state, "cancelled", API, at, who=by, plan_at=None)
    return known_set(connection, set_id)


def request_release(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    of = _locked(connection, set_id)
    if of.manifest is None:
        raise RequestError(f"set {set_id} has no manifest to release", code="request.state", status=409)
    if of.release_requested:
        return of
    if of.state in UNRELEASED_SET:
        _refuse_unready(connection, of)
    elif of.state not in OPEN_SET:
        raise RequestError(f"set {set_id} is {of.state}", code="request.state", status=409)
    return _flagged(connection, of, by, at, "release requested", release_requested=True)


def _refuse_unready(connection: Connection, of: DeploymentSet) -> None:
    unready = (members.c.set_id == of.set_id, members.c.state.in_(sorted(MEMBER.states - ARRIVED - OUT)))
    number: int = connection.execute(select(func.count()).select_from(members).where(*unready)).scalar_one()
    if not number:
        return
    query = select(members.c.device_id, members.c.state).where(*unready).order_by(members.c.device_id).limit(NAMED)
    first = {device_id: state for device_id, state in connection.execute(query)}  # noqa: C416  rows are no pairs
    images = _missing_images(connection, of.set_id, first)
    lines = [
        f"{device_id} ({state}): {', '.join(images.get(device_id, [])) or '-'}" for device_id, state in first.items()
    ]
    more = f" and {number - NAMED} more" if number > NAMED else ""
    raise RequestError(f"not ready: {'; '.join(lines)}{more}", code="request.not_ready", status=409)


def _missing_images(connection: Connection, set_id: str, device_ids: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    these: tuple[ColumnElement[bool], ...] = (
        member_transfers.c.set_id == set_id,
        member_transfers.c.device_id.in_(sorted(device_ids)),
    )
    for _set, device_id, transfer in linked_transfers(connection, *these):
        if transfer.state not in ON_DEVICE:
            found.setdefault(device_id, []).append(f"{transfer.reference} ({transfer.state})")
    return found


def promote(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    of = _locked(connection, set_id)
    if not of.canaries:
        raise RequestError(f"set {set_id} has no canary devices", code="request.state", status=409)
    if of.promoted:
        return of
    if of.state not in OPEN_SET:
        raise RequestError(f"set {set_id} is {of.state}", code="request.state", status=409)
    return _flagged(connection, of, by, at, "promoted", promoted=True)


def exclude_member(connection: Connection, set_id: str, device_id: str, by: str, at: datetime) -> Member:
    return _leave(connection, set_id, device_id, MEMBER.leading_to("excluded", API), by, at)


def skip_member(connection: Connection, set_id: str, device_id: str, by: str, at: datetime) -> Member:
    return _leave(connection, set_id, device_id, ("conflict", "failed"), by, at)


def _leave(
    connection: Connection, set_id: str, device_id: str, states: Collection[str], by: str, at: datetime
) -> Member:
    lock_devices(connection, [device_id])
    _locked(connection, set_id)
    member = known_member(connection, set_id, device_id)
    if member.state == "excluded":
        return member
    if member.state not in states:
        raise _refused(member, "excluded")
    with Ledger(connection, API, at, by) as ledger:
        ledger.member(set_id, device_id, member.state, "excluded", code=member.code, detail=member.detail)
        withdraw(ledger, set_id, [device_id], ACTIVE_TRANSFER, f"excluded from {set_id}")
    return known_member(connection, set_id, device_id)


def retry_member(connection: Connection, set_id: str, device_id: str, by: str, at: datetime) -> Member:
    lock_devices(connection, [device_id])
    of = _locked(connection, set_id)
    member = known_member(connection, set_id, device_id)
    if member.state != "failed":
        if member.state in BEFORE_ARRIVAL:
            return member
        raise _refused(member, "planned")
    retry_failed(connection, of, [device_id], by, at)
    return known_member(connection, set_id, device_id)


def rebase_member(
    connection: Connection, set_id: str, device_id: str, agent_version: int, by: str, at: datetime
) -> Member:
    """Release it after all, on top of what someone else changed."""
    lock_devices(connection, [device_id])
    _locked(connection, set_id)
    member = known_member(connection, set_id, device_id)
    if member.state != "conflict":
        if member.agent_version == agent_version and member.state in RELEASABLE | STANDING:
            return member
        raise _refused(member, "ready")
    move_member(connection, set_id, device_id, "conflict", "ready", API, at, who=by, agent_version=agent_version)
    return known_member(connection, set_id, device_id)


def _refused(member: Member, wanted: str) -> RequestError:
    return RequestError(
        f"member {member.device_id} of {member.set_id} is {member.state} and cannot become {wanted}",
        code="request.state",
        status=409,
    )


def _locked(connection: Connection, set_id: str) -> DeploymentSet:
    lock_set(connection, set_id)
    return known_set(connection, set_id)


def _flagged(
    connection: Connection, of: DeploymentSet, by: str, at: datetime, what: str, **values: Any
) -> DeploymentSet:
    connection.execute(sets.update().where(sets.c.set_id == of.set_id).values(updated_at=at, **values))
    with Ledger(connection, API, at, by) as ledger:
        ledger.note("set", of.set_id, of.state, what, set_id=of.set_id)
        ledger.unsettled([of.set_id])
    return known_set(connection, of.set_id)
