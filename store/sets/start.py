"""Starting what is planned and weighed: members go on their way, and older sets of the workstream give way to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from contracts.records import DeploymentSet, Transfer
from contracts.states import MEMBER, NOT_FETCHED, ON_DEVICE, OPEN_SET, ORCHESTRATOR, STARTED_SET, UNPUBLISHED
from services.store_port import Range
from store.kernel import due
from store.kernel.ledger import Ledger
from store.kernel.schema import member_transfers, members, sets
from store.kernel.tools import chunks, lock_devices
from store.sets.plan import ranges
from store.sets.rows import find_set, known_set
from store.transfers.rows import linked_transfers
from store.transfers.withdraw import withdraw


def to_start(connection: Connection, set_id: str, size: int) -> tuple[Range, ...]:
    of = find_set(connection, set_id)
    if of is None or of.state not in STARTED_SET:
        return ()
    return ranges(connection, (members.c.set_id == set_id) & (members.c.state == "planned"), size)


def start_members(connection: Connection, set_id: str, within: Range, weighed_at: datetime, at: datetime) -> None:
    lock_devices(connection, _planned(connection, set_id, within, weighed_at))
    of = known_set(connection, set_id)
    if of.state not in STARTED_SET:
        return
    device_ids = _planned(connection, set_id, within, weighed_at)
    waiting = _waiting(connection, set_id, within, device_ids)
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        started = _move_on(ledger, set_id, waiting)
        supersede_older(ledger, of, started)
    patch_ids = {
        transfer.patch_id
        for device_id in started
        for transfer in waiting[device_id]
        if transfer.state in UNPUBLISHED and transfer.patch_id is not None
    }
    due.build_patches(connection, patch_ids, at)


def _planned(connection: Connection, set_id: str, within: Range, weighed_at: datetime) -> list[str]:
    query = select(members.c.device_id).where(
        members.c.set_id == set_id,
        members.c.state == "planned",
        members.c.plan_at.is_(None),
        members.c.updated_at <= weighed_at,
        members.c.device_id.between(*within),
    )
    return list(connection.execute(query).scalars())


def _waiting(
    connection: Connection, set_id: str, within: Range, device_ids: Collection[str]
) -> dict[str, list[Transfer]]:
    """Device -> what brings its images."""
    found: dict[str, list[Transfer]] = {device_id: [] for device_id in device_ids}
    links = (member_transfers.c.set_id == set_id, member_transfers.c.device_id.between(*within))
    for _set, device_id, transfer in linked_transfers(connection, *links):
        if device_id in found:
            found[device_id].append(transfer)
    return found


def _move_on(ledger: Ledger, set_id: str, waiting: Mapping[str, Sequence[Transfer]]) -> list[str]:
    """Returns the devices whose members are on their way, or there already."""
    alike: dict[tuple[str, str | None, str | None], list[str]] = {}
    for device_id, its_transfers in waiting.items():
        alike.setdefault(_next_state(its_transfers), []).append(device_id)
    for (new, code, detail), device_ids in alike.items():
        if new == "planned":
            _plan_again(ledger, set_id, device_ids)
        else:
            ledger.members(set_id, device_ids, "planned", new, code=code, detail=detail)
    started = (device_ids for (new, _, _), device_ids in alike.items() if new in ("in_transit", "ready"))
    return sorted(device_id for device_ids in started for device_id in device_ids)


def _next_state(its_transfers: Sequence[Transfer]) -> tuple[str, str | None, str | None]:
    """The member's next state, and why. Between its plan and its start a transfer may have met anything."""
    for transfer in its_transfers:
        if transfer.state == "failed":
            why = transfer.detail or transfer.code or "failed"
            return "failed", transfer.code or "transfer.failed", f"{transfer.reference}: {why}"
    if any(_lacks_plan(transfer) for transfer in its_transfers):
        return "planned", None, None
    done = all(transfer.state in ON_DEVICE for transfer in its_transfers)
    return ("ready" if done else "in_transit"), None, None


def _lacks_plan(transfer: Transfer) -> bool:
    return transfer.state == "cancelled" or (transfer.state == "queued" and transfer.patch_id is None)


def _plan_again(ledger: Ledger, set_id: str, device_ids: Collection[str]) -> None:
    for part in chunks(device_ids):
        these = (members.c.set_id == set_id, members.c.device_id.in_(part), members.c.state == "planned")
        ledger.connection.execute(members.update().where(*these).values(plan_at=ledger.at))
    due.plan_sets(ledger.connection, [set_id], ledger.at)


def supersede_older(ledger: Ledger, of: DeploymentSet, device_ids: Iterable[str]) -> None:
    """Members of older sets of the workstream on these devices give way, unless they are being released.

    A set whose every member gave way is superseded as a whole when it is settled.
    """
    detail = f"superseded by {of.set_id}"
    given_way: dict[tuple[str, str], list[str]] = {}
    for part in chunks(device_ids):
        for set_id, device_id, state in ledger.connection.execute(_older(of, part, ledger.mover)):
            given_way.setdefault((set_id, state), []).append(device_id)
    for (set_id, state), its_devices in sorted(given_way.items()):
        ledger.members(set_id, its_devices, state, "superseded", detail=detail)
    for (set_id, _state), its_devices in sorted(given_way.items()):
        withdraw(ledger, set_id, its_devices, NOT_FETCHED, detail)


def _older(of: DeploymentSet, device_ids: Sequence[str], mover: str) -> Select[Any]:
    return (
        select(members.c.set_id, members.c.device_id, members.c.state)
        .join(sets, sets.c.set_id == members.c.set_id)
        .where(
            sets.c.workstream == of.workstream,
            sets.c.ordinal < of.ordinal,
            sets.c.state.in_(sorted(OPEN_SET)),
            members.c.state.in_(sorted(MEMBER.leading_to("superseded", mover))),
            members.c.device_id.in_(device_ids),
        )
    )
