"""What people and pipelines order of a set: approve, cancel, release, promote, exclude, retry, rebase, skip.

Ordering what is done already changes nothing and answers as the first time did.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from contracts.records import DeploymentSet, Member
from contracts.states import (
    ACTIVE_TRANSFER,
    API,
    ARRIVED,
    BEFORE_ARRIVAL,
    MEMBER,
    ON_DEVICE,
    OPEN_SET,
    OUT,
    RELEASABLE,
    RETRIED_SET,
    STANDING,
    UNRELEASED_SET,
)
from imagedelta.errors import RequestError
from store.devices.rows import twin_changed
from store.kernel.history import remember
from store.kernel.moves import move_member, move_set, requeue
from store.kernel.schema import member_transfers, sets, transfers
from store.kernel.tools import lock_devices, lock_set
from store.sets.links import relink, reopen_links
from store.sets.rows import known_member, known_set, members_of
from store.sets.settle import settle_members
from store.transfers.patches import request_again
from store.transfers.rows import active_transfer, linked_transfers
from store.transfers.withdraw import withdraw_unwanted

HELD_BACK = ("failed", "plan.needs_approval")
"""State and code of a member that the cost guard holds back."""
NAMED = 20
"""Devices and images repeated in an error message."""


def approve(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    """Approve the plan, or in a set on its way the devices that were held back for approval."""
    of = _locked(connection, set_id)
    held = [m.device_id for m in members_of(connection, set_id) if (m.state, m.code) == HELD_BACK]
    if held and of.state != "awaiting_approval":
        _flagged(connection, of, by, at, "approved", approved_by=by)
        for device_id in held:
            retry_member(connection, set_id, device_id, by, at)
    elif of.approved_by is None or of.state == "awaiting_approval":
        move_set(connection, set_id, of.state, "preparing", API, at, who=by, approved_by=by)
    return known_set(connection, set_id)


def cancel(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    of = _locked(connection, set_id)
    if of.state == "cancelled":
        return of
    its_members = members_of(connection, set_id)
    lock_devices(connection, (member.device_id for member in its_members))
    move_set(connection, set_id, of.state, "cancelled", API, at, who=by)
    for member in its_members:
        if MEMBER.allows(member.state, "cancelled", API):
            move_member(connection, set_id, member.device_id, member.state, "cancelled", API, at, who=by)
    device_ids = [member.device_id for member in its_members]
    withdraw_unwanted(
        connection, set_id, device_ids, ACTIVE_TRANSFER, API, at, who=by, detail=f"{set_id} was cancelled"
    )
    return known_set(connection, set_id)


def request_release(connection: Connection, set_id: str, by: str, at: datetime) -> DeploymentSet:
    of = _locked(connection, set_id)
    if of.manifest is None:
        raise RequestError(f"set {set_id} has no manifest to release", code="request.state", status=409)
    if of.release_requested:
        return of
    if of.state in UNRELEASED_SET:
        settle_members(connection, of, at)
        _refuse_unready(connection, of)
    elif of.state not in OPEN_SET:
        raise RequestError(f"set {set_id} is {of.state}", code="request.state", status=409)
    return _flagged(connection, of, by, at, "release requested", release_requested=True)


def _refuse_unready(connection: Connection, of: DeploymentSet) -> None:
    missing = [m for m in members_of(connection, of.set_id) if m.state not in ARRIVED | OUT]
    if not missing:
        return
    images: dict[str, list[str]] = {}
    for _set, device_id, transfer in linked_transfers(connection, member_transfers.c.set_id == of.set_id):
        if transfer.state not in ON_DEVICE:
            images.setdefault(device_id, []).append(f"{transfer.reference} ({transfer.state})")
    lines = [f"{m.device_id} ({m.state}): {', '.join(images.get(m.device_id, [])) or '-'}" for m in missing[:NAMED]]
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    raise RequestError(f"not ready: {'; '.join(lines)}{more}", code="request.not_ready", status=409)


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
    _locked(connection, set_id)
    lock_devices(connection, [device_id])
    member = known_member(connection, set_id, device_id)
    if member.state == "excluded":
        return member
    if member.state not in states:
        raise _refused(member, "excluded")
    reason = {"code": member.code, "detail": member.detail}
    move_member(connection, set_id, device_id, member.state, "excluded", API, at, who=by, **reason)
    withdraw_unwanted(
        connection, set_id, [device_id], ACTIVE_TRANSFER, API, at, who=by, detail=f"excluded from {set_id}"
    )
    return known_member(connection, set_id, device_id)


def retry_member(connection: Connection, set_id: str, device_id: str, by: str, at: datetime) -> Member:
    of = _locked(connection, set_id)
    lock_devices(connection, [device_id])
    member = known_member(connection, set_id, device_id)
    if member.state != "failed":
        if member.state in BEFORE_ARRIVAL:
            return member
        raise _refused(member, "planned")
    if of.state in RETRIED_SET:
        move_set(connection, set_id, of.state, "preparing", API, at, who=by)
    elif of.state not in OPEN_SET:
        raise RequestError(f"set {set_id} is {of.state}", code="request.state", status=409)
    move_member(connection, set_id, device_id, "failed", "planned", API, at, who=by)
    reopen_links(connection, set_id, device_id)
    _retry_transfers(connection, set_id, device_id, by, at)
    twin_changed(connection, [device_id])
    return known_member(connection, set_id, device_id)


def _retry_transfers(connection: Connection, set_id: str, device_id: str, by: str, at: datetime) -> None:
    where = (
        member_transfers.c.set_id == set_id,
        member_transfers.c.device_id == device_id,
        transfers.c.state == "failed",
    )
    for _set, _device, transfer in linked_transfers(connection, *where):
        if transfer.patch_id is not None:
            request_again(connection, transfer.patch_id, at)
        if (active := active_transfer(connection, device_id, transfer.image_id)) is not None:
            relink(connection, transfer, active)
        else:
            requeue(connection, transfer, API, at, refused_sources=[], who=by)


def rebase_member(
    connection: Connection, set_id: str, device_id: str, agent_version: int, by: str, at: datetime
) -> Member:
    """Release it after all, on top of what someone else changed."""
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
    remember(connection, "set", of.set_id, of.state, of.state, at, set_id=of.set_id, who=by, detail=what)
    return known_set(connection, of.set_id)
