"""Each planned image of a member: the transfer that brings it is found or made, given its plan, and linked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select

from contracts.records import Transfer
from contracts.states import ACTIVE_TRANSFER, ON_DEVICE, TRANSFER
from services.store_port import PlannedMember, PlannedTransfer
from store.kernel.ledger import Ledger
from store.kernel.schema import member_transfers, transfers
from store.kernel.tools import chunks, new_id, rows_in
from store.sets.links import first_attempt_to_come, relink
from store.transfers.patch_requests import PatchKey, RequestedPatch, patch_key, request_patches
from store.transfers.rows import transfer_query, transfer_record

URGENCY = {"urgent": 0, "normal": 1, "background": 2}

Place = tuple[str, str]
"""Device and image."""


def link_plans(ledger: Ledger, set_id: str, planned: Sequence[PlannedMember]) -> list[PlannedMember]:
    """The caller holds the devices, so that no rival makes transfers to them.

    Returns: Those that are linked now; a plan that uses what its transfer has refused meanwhile is left out.
    """
    known = _Known(ledger, set_id, planned)
    fitting = [member for member in planned if not any(known.refuses(item) for item in member.transfers)]
    items = [item for member in fitting for item in member.transfers]
    waiting = [item for item in items if not known.is_over(item)]
    unplanned = [item for item in waiting if known.lacks_plan(item)]
    patches = request_patches(ledger.connection, unplanned, ledger.at)
    _give_plans(ledger, [(known.active[_place(item)], item) for item in unplanned if known.joins(item)], patches)
    made = [_new_transfer(item, patches, ledger) for item in waiting if known.lacks_transfer(item)]
    _insert(ledger, made)
    known.add(made)
    _hurry(ledger, [(known.active[_place(item)], item) for item in waiting if known.joins(item)])
    _link(ledger, set_id, known, waiting)
    _unlink_others(ledger, set_id, known, fitting)
    _fail_unbuildable(ledger, [(known.active[_place(item)], patches[patch_key(item)]) for item in unplanned])
    return fitting


class _Known:
    """Transfers of these images to these devices, and to which of them the set is linked."""

    def __init__(self, ledger: Ledger, set_id: str, planned: Sequence[PlannedMember]) -> None:
        device_ids = [member.device_id for member in planned]
        images = sorted({item.image_id for member in planned for item in member.transfers})
        query = transfer_query().where(transfers.c.image_id.in_(images)).order_by(transfers.c.created_at)
        found = [transfer_record(row) for row in rows_in(ledger.connection, query, transfers.c.device_id, device_ids)]
        self.active: dict[Place, Transfer] = {}
        self._done: dict[Place, Transfer] = {}
        self.add(found)
        by_id = {transfer.transfer_id: transfer for transfer in found}
        links = select(member_transfers.c.device_id, member_transfers.c.image_id, member_transfers.c.transfer_id)
        links = links.where(member_transfers.c.set_id == set_id)
        rows = rows_in(ledger.connection, links, member_transfers.c.device_id, device_ids)
        self.links = {(row["device_id"], row["image_id"]): by_id.get(row["transfer_id"]) for row in rows}

    def add(self, found: Iterable[Transfer]) -> None:
        for transfer in found:
            place = transfer.device_id, transfer.image_id
            if transfer.state in ACTIVE_TRANSFER:
                self.active[place] = transfer
            elif transfer.state in ON_DEVICE:
                self._done[place] = transfer

    def is_over(self, item: PlannedTransfer) -> bool:
        """What the set is linked to has arrived, or failed: nothing is to be planned for it."""
        linked = self.links.get(_place(item))
        return linked is not None and linked.state in ON_DEVICE | {"failed"}

    def joins(self, item: PlannedTransfer) -> bool:
        return _place(item) in self.active

    def lacks_transfer(self, item: PlannedTransfer) -> bool:
        return not self.joins(item) and not (item.already_present and _place(item) in self._done)

    def lacks_plan(self, item: PlannedTransfer) -> bool:
        if item.already_present:
            return False
        active = self.active.get(_place(item))
        return active is None or (active.state == "queued" and active.patch_id is None)

    def refuses(self, item: PlannedTransfer) -> bool:
        active = self.active.get(_place(item))
        return active is not None and self.lacks_plan(item) and not set(item.sources).isdisjoint(active.refused_sources)

    def transfer_for(self, item: PlannedTransfer) -> Transfer:
        return self.active.get(_place(item)) or self._done[_place(item)]


def _place(item: PlannedTransfer) -> Place:
    return item.device_id, item.image_id


# ---------------------------------------------------------------- transfers


def _new_transfer(item: PlannedTransfer, patches: Mapping[PatchKey, RequestedPatch], ledger: Ledger) -> Transfer:
    blank = Transfer(
        transfer_id=new_id("transfer"),
        device_id=item.device_id,
        image_id=item.image_id,
        reference=item.reference,
        state="already_present" if item.already_present else TRANSFER.initial,
        attempt=1,
        sequence=0,
        sources=None,
        refused_sources=(),
        patch_id=None,
        priority=item.priority,
        number=None,
        bundle=None,
        bundle_bytes=None,
        estimated_bytes=None,
        full_bytes=item.full_bytes,
        code=None,
        detail=None,
        local_digest=None,
        bytes_fetched=None,
        seconds_on_link=None,
        created_at=ledger.at,
        updated_at=ledger.at,
    )
    return blank if item.already_present else replace(blank, **_plan_of(item, patches))


def _plan_of(item: PlannedTransfer, patches: Mapping[PatchKey, RequestedPatch]) -> dict[str, Any]:
    return {
        "sources": item.sources,
        "patch_id": patches[patch_key(item)].patch_id,
        "estimated_bytes": item.estimated_bytes,
        "full_bytes": item.full_bytes,
        "unregistered": item.unregistered or None,
    }


_STORED = (
    *("transfer_id", "device_id", "image_id", "reference", "state", "attempt", "sequence", "sources"),
    *("refused_sources", "patch_id", "priority", "estimated_bytes", "full_bytes", "unregistered"),
    *("created_at", "updated_at"),
)


def _insert(ledger: Ledger, made: Sequence[Transfer]) -> None:
    if made:
        ledger.connection.execute(transfers.insert(), [_as_row(transfer) for transfer in made])
        ledger.created(made)


def _as_row(transfer: Transfer) -> dict[str, Any]:
    values = {name: getattr(transfer, name) for name in _STORED}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


_PLAN = ("sources", "patch_id", "estimated_bytes", "full_bytes", "unregistered")
_GIVE_PLAN = (
    transfers.update()
    .where(transfers.c.transfer_id == bindparam("this"), transfers.c.state == "queued", transfers.c.patch_id.is_(None))
    .values({transfers.c[name]: bindparam(f"new_{name}") for name in _PLAN})
)


def _give_plans(
    ledger: Ledger, joined: Sequence[tuple[Transfer, PlannedTransfer]], patches: Mapping[PatchKey, RequestedPatch]
) -> None:
    """To transfers that are queued without one."""
    rows = [
        {"this": transfer.transfer_id, **{f"new_{name}": value for name, value in _plan_row(item, patches).items()}}
        for transfer, item in joined
    ]
    if rows:
        ledger.connection.execute(_GIVE_PLAN, rows)


def _plan_row(item: PlannedTransfer, patches: Mapping[PatchKey, RequestedPatch]) -> dict[str, Any]:
    plan = _plan_of(item, patches)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plan.items()}


def _hurry(ledger: Ledger, joined: Iterable[tuple[Transfer, PlannedTransfer]]) -> None:
    """A transfer is as urgent as the most urgent of those who wait for it, while it is queued."""
    urgent: dict[str, list[str]] = {}
    for transfer, item in joined:
        if transfer.state == "queued" and URGENCY.get(item.priority, 1) < URGENCY.get(transfer.priority, 1):
            urgent.setdefault(item.priority, []).append(transfer.transfer_id)
    for priority, transfer_ids in urgent.items():
        for part in chunks(transfer_ids):
            these = (transfers.c.transfer_id.in_(part), transfers.c.state == "queued")
            ledger.connection.execute(transfers.update().where(*these).values(priority=priority))


def _fail_unbuildable(ledger: Ledger, planned: Iterable[tuple[Transfer, RequestedPatch]]) -> None:
    """A patch that failed for good stays so until a person retries a member that waits for it."""
    alike: dict[RequestedPatch, list[Transfer]] = {}
    for transfer, patch in planned:
        if patch.state == "failed":
            alike.setdefault(patch, []).append(transfer)
    for patch, waiting in alike.items():
        ledger.transfers(waiting, "failed", code=patch.code, detail=patch.detail)


# ---------------------------------------------------------------- links


def _link(ledger: Ledger, set_id: str, known: _Known, items: Iterable[PlannedTransfer]) -> None:
    """What the set was linked to before keeps its part of the account."""
    rows = []
    for item in items:
        transfer, linked = known.transfer_for(item), known.links.get(_place(item))
        if linked is None:
            rows.append(_link_row(set_id, item, transfer))
        else:
            relink(ledger.connection, linked, transfer, set_id)
    if rows:
        ledger.connection.execute(member_transfers.insert(), rows)


def _link_row(set_id: str, item: PlannedTransfer, transfer: Transfer) -> dict[str, Any]:
    return {
        "set_id": set_id,
        "device_id": item.device_id,
        "image_id": item.image_id,
        "transfer_id": transfer.transfer_id,
        "reference": item.reference,
        "since_attempt": first_attempt_to_come(transfer),
        "planned_before": 0,
        "sent_before": 0,
    }


_UNLINK = member_transfers.delete().where(
    member_transfers.c.set_id == bindparam("this_set"),
    member_transfers.c.device_id == bindparam("this_device"),
    member_transfers.c.image_id == bindparam("this_image"),
)


def _unlink_others(ledger: Ledger, set_id: str, known: _Known, planned: Iterable[PlannedMember]) -> None:
    """Images for another platform than the device says by now that it runs: nobody waits for them any more."""
    wanted = {member.device_id: {item.image_id for item in member.transfers} for member in planned}
    rows = [
        {"this_set": set_id, "this_device": device_id, "this_image": image_id}
        for device_id, image_id in known.links
        if device_id in wanted and image_id not in wanted[device_id]
    ]
    if rows:
        ledger.connection.execute(_UNLINK, rows)
