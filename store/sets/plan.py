"""Recording a plan: transfers created or joined, patches requested, members moved on, older sets superseded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from contracts.records import DeploymentSet, Member, Transfer
from contracts.states import (
    BEFORE_ARRIVAL,
    MEMBER,
    NOT_FETCHED,
    ON_DEVICE,
    OPEN_SET,
    ORCHESTRATOR,
    OUT,
    TRANSFER,
    UNRELEASED_SET,
)
from services.store_port import PlannedTransfer
from store.devices.rows import confirmed_images
from store.kernel.due import sync_devices
from store.kernel.history import remember
from store.kernel.ledger import UNPLANNED
from store.kernel.moves import move_member, move_set, move_transfer
from store.kernel.schema import member_transfers, members, sets, transfers
from store.kernel.tools import lock_devices, lock_set, new_id
from store.sets.links import first_attempt_to_come, relink
from store.sets.rows import known_set, members_of, this_member
from store.transfers.patches import request_patch
from store.transfers.rows import (
    active_transfer,
    fetch_transfers,
    find_transfer,
    known_transfer,
    linked_transfers,
)
from store.transfers.withdraw import withdraw_unwanted

DEVICES_AT_ONCE = 50
URGENCY = {"urgent": 0, "normal": 1, "background": 2}


def plan_parts(
    plan: Sequence[PlannedTransfer], agent_versions: Mapping[str, int]
) -> Iterator[tuple[list[PlannedTransfer], dict[str, int]]]:
    """The plan in parts of ``DEVICES_AT_ONCE`` devices, each device whole."""
    device_ids = sorted({item.device_id for item in plan} | set(agent_versions))
    for start in range(0, len(device_ids), DEVICES_AT_ONCE):
        part = set(device_ids[start : start + DEVICES_AT_ONCE])
        yield (
            [item for item in plan if item.device_id in part],
            {device_id: version for device_id, version in agent_versions.items() if device_id in part},
        )


def record_plan(
    connection: Connection,
    set_id: str,
    plan: Sequence[PlannedTransfer],
    agent_versions: Mapping[str, int],
    at: datetime,
    max_attempts: int,
) -> None:
    """Devices that the plan speaks of are those of ``plan`` and ``agent_versions``; others are not touched."""
    lock_set(connection, set_id)
    of = known_set(connection, set_id)
    planned = {item.device_id for item in plan} | set(agent_versions)
    if of.state not in OPEN_SET or not planned:
        return
    lock_devices(connection, planned)
    todo = {
        m.device_id: m for m in members_of(connection, set_id) if m.device_id in planned and m.state in BEFORE_ARRIVAL
    }
    confirmed = confirmed_images(connection, todo)
    present = {device_id: {image.image_id for image in of_device} for device_id, of_device in confirmed.items()}
    stale = set()
    for item in plan:
        if item.device_id in todo and not _plan_one(connection, of, item, present, at, max_attempts):
            stale.add(item.device_id)
    for device_id, member in todo.items():
        _move_on(connection, member, agent_versions.get(device_id), at, ready_to_go=device_id not in stale)
    supersede_older(connection, of, sorted(todo), ORCHESTRATOR, at)
    sync_devices(connection, todo, at)


def _plan_one(
    connection: Connection,
    of: DeploymentSet,
    item: PlannedTransfer,
    present: Mapping[str, set[str]],
    at: datetime,
    max_attempts: int,
) -> bool:
    """Link one transfer; False when the inventory has changed since planning, so that it must be planned anew."""
    here = item.image_id in present.get(item.device_id, set())
    if item.already_present and not here:
        return False
    linked = _linked(connection, of.set_id, item)
    active = active_transfer(connection, item.device_id, item.image_id)
    if linked is not None and linked.state in ON_DEVICE | {"failed"}:
        return True
    if here:
        _link(connection, of.set_id, item, linked, active or _finished(connection, item, at))
        return True
    if active is None:
        active = _start(connection, item, at)
    _link(connection, of.set_id, item, linked, active)
    _give_plan(connection, active, item, at, max_attempts)
    return True


def _linked(connection: Connection, set_id: str, item: PlannedTransfer) -> Transfer | None:
    query = select(member_transfers.c.transfer_id).where(
        member_transfers.c.set_id == set_id,
        member_transfers.c.device_id == item.device_id,
        member_transfers.c.image_id == item.image_id,
    )
    transfer_id = connection.execute(query).scalar()
    return find_transfer(connection, transfer_id) if transfer_id else None


def _link(
    connection: Connection, set_id: str, item: PlannedTransfer, linked: Transfer | None, transfer: Transfer
) -> None:
    if linked is not None:
        relink(connection, linked, transfer, set_id)
        return
    connection.execute(
        member_transfers.insert().values(
            set_id=set_id,
            device_id=item.device_id,
            image_id=item.image_id,
            transfer_id=transfer.transfer_id,
            reference=item.reference,
            since_attempt=first_attempt_to_come(transfer),
            planned_before=0,
            sent_before=0,
        )
    )


def _finished(connection: Connection, item: PlannedTransfer, at: datetime) -> Transfer:
    """The transfer that brought the image here, or a row that says it was here before."""
    of_image = (transfers.c.device_id == item.device_id, transfers.c.image_id == item.image_id)
    done = fetch_transfers(connection, *of_image, transfers.c.state.in_(sorted(ON_DEVICE)))
    return done[-1] if done else _insert(connection, item, "already_present", at)


def _start(connection: Connection, item: PlannedTransfer, at: datetime) -> Transfer:
    """A new active transfer; a rival's, when one was committed meanwhile."""
    try:
        with connection.begin_nested():
            return _insert(connection, item, TRANSFER.initial, at)
    except IntegrityError:
        rival = active_transfer(connection, item.device_id, item.image_id)
        if rival is None:
            raise
        return rival


def _insert(connection: Connection, item: PlannedTransfer, state: str, at: datetime) -> Transfer:
    transfer_id = new_id("transfer")
    connection.execute(
        transfers.insert().values(
            transfer_id=transfer_id,
            device_id=item.device_id,
            image_id=item.image_id,
            reference=item.reference,
            state=state,
            attempt=1,
            sequence=0,
            sources=None,
            refused_sources=[],
            priority=item.priority,
            full_bytes=item.full_bytes,
            created_at=at,
            updated_at=at,
        )
    )
    remember(connection, "transfer", transfer_id, None, state, at, transfer_id=transfer_id, attempt=1, who=ORCHESTRATOR)
    return known_transfer(connection, transfer_id)


def _give_plan(
    connection: Connection, transfer: Transfer, item: PlannedTransfer, at: datetime, max_attempts: int
) -> None:
    """A queued transfer without sources gets these; one that has its plan only becomes more urgent."""
    transfer = _queued_again(connection, transfer, at, max_attempts)
    if transfer.state != "queued":
        return
    values: dict[str, object] = {}
    if URGENCY.get(item.priority, 1) < URGENCY.get(transfer.priority, 1):
        values["priority"] = item.priority
    if transfer.patch_id is None and not set(item.sources) & set(transfer.refused_sources):
        patch = request_patch(connection, item.image_id, item.sources, item.profile, item.estimated_bytes, at)
        if patch.state == "failed":
            reason = {"code": patch.code, "detail": patch.detail}
            move_transfer(connection, transfer, "failed", ORCHESTRATOR, at, **reason)
            return
        values |= {
            "sources": list(item.sources),
            "patch_id": patch.patch_id,
            "estimated_bytes": item.estimated_bytes,
            "full_bytes": item.full_bytes,
            "unregistered": list(item.unregistered) or None,
        }
    if values:
        where = (transfers.c.transfer_id == transfer.transfer_id, transfers.c.state == "queued")
        connection.execute(transfers.update().where(*where).values(**values))


def _queued_again(connection: Connection, transfer: Transfer, at: datetime, max_attempts: int) -> Transfer:
    if transfer.state != "source_missing":
        return transfer
    more = transfer.attempt < max_attempts
    values = {"attempt": transfer.attempt + 1, "sequence": 0, **UNPLANNED} if more else {}
    reason = {"code": transfer.code, "detail": transfer.detail}
    move_transfer(connection, transfer, "queued" if more else "failed", ORCHESTRATOR, at, **values, **reason)
    return known_transfer(connection, transfer.transfer_id)


def _move_on(
    connection: Connection, member: Member, agent_version: int | None, at: datetime, *, ready_to_go: bool
) -> None:
    set_id, device_id, state = member.set_id, member.device_id, member.state
    if agent_version is not None and member.agent_version is None:
        where = this_member(set_id, device_id)
        connection.execute(members.update().where(where).values(agent_version=agent_version))
    if state == "waiting_inventory":
        move_member(connection, set_id, device_id, state, "planned", ORCHESTRATOR, at)
        state = "planned"
    if state == "planned" and ready_to_go:
        linked = (member_transfers.c.set_id == set_id, member_transfers.c.device_id == device_id)
        done = all(transfer.state in ON_DEVICE for _, _, transfer in linked_transfers(connection, *linked))
        move_member(connection, set_id, device_id, state, "ready" if done else "in_transit", ORCHESTRATOR, at)


def supersede_older(
    connection: Connection, of: DeploymentSet, device_ids: Sequence[str], mover: str, at: datetime
) -> None:
    """Members of older sets of the workstream on these devices give way, unless they are being released."""
    query = (
        select(members.c.set_id, members.c.device_id, members.c.state)
        .join(sets, sets.c.set_id == members.c.set_id)
        .where(
            sets.c.workstream == of.workstream,
            sets.c.ordinal < of.ordinal,
            sets.c.state.in_(sorted(OPEN_SET)),
            members.c.state.in_(sorted(MEMBER.leading_to("superseded", mover))),
            members.c.device_id.in_(device_ids),
        )
        .order_by(sets.c.ordinal, members.c.device_id)
    )
    given_way: dict[str, list[str]] = {}
    for set_id, device_id, state in connection.execute(query).all():
        detail = f"superseded by {of.set_id}"
        if move_member(connection, set_id, device_id, state, "superseded", mover, at, detail=detail):
            given_way.setdefault(set_id, []).append(device_id)
    for set_id, of_set in given_way.items():
        _finish_superseded(connection, set_id, of.set_id, mover, at)
        withdraw_unwanted(
            connection, set_id, of_set, NOT_FETCHED, mover, at, who=mover, detail=f"superseded by {of.set_id}"
        )


def _finish_superseded(connection: Connection, set_id: str, by: str, mover: str, at: datetime) -> None:
    """A set whose every member gave way (or was taken out before) is superseded as a whole."""
    old = known_set(connection, set_id)
    if old.state not in UNRELEASED_SET:
        return
    if all(member.state in OUT for member in members_of(connection, set_id)):
        move_set(connection, set_id, old.state, "superseded", mover, at, detail=f"superseded by {by}")
