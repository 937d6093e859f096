"""What has something to do because of what a device told: sets to be planned, patches to be published to it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, or_, select

from contracts.states import BEFORE_ARRIVAL, OPEN_SET, UNPUBLISHED
from store.kernel.due import build_patches, plan_sets
from store.kernel.schema import member_transfers, members, sets, transfers
from store.kernel.tools import IDS, chunks
from store.sets.links import waits

_WAITING = (
    select(member_transfers.c.transfer_id, member_transfers.c.set_id)
    .where(member_transfers.c.transfer_id.in_(IDS), waits())
    .order_by(member_transfers.c.set_id)
)


def sets_waiting_for(connection: Connection, transfer_ids: Collection[str]) -> dict[str, list[str]]:
    """transfer -> open sets with a member that still wants it, by id."""
    found: dict[str, list[str]] = {}
    for part in chunks(transfer_ids):
        for transfer_id, set_id in connection.execute(_WAITING, {"ids": part}):
            found.setdefault(transfer_id, []).append(set_id)
    return found


def plan_device(connection: Connection, device_id: str, at: datetime) -> tuple[str, ...]:
    """The device can be planned for: its members that lack a plan, or were put off, are due; their sets, by id.

    The caller holds the device.
    """
    found = tuple(sorted(connection.execute(_TO_PLAN, {"device": device_id}).scalars()))
    for part in chunks(found):
        these = (members.c.device_id == device_id, members.c.set_id.in_(part))
        connection.execute(members.update().where(*these).values(plan_at=at))
    plan_sets(connection, found, at)
    return found


def publish_to_device(connection: Connection, device_id: str, at: datetime) -> None:
    """It is believed again: patches that its transfers wait for are looked at, also those that are built."""
    query = select(transfers.c.patch_id).where(
        transfers.c.device_id == device_id,
        transfers.c.state.in_(sorted(UNPUBLISHED)),
        transfers.c.patch_id.is_not(None),
    )
    build_patches(connection, tuple(connection.execute(query).scalars()), at)


def _to_plan() -> Select[Any]:
    """Sets with a member on the device that waits for a plan, has a transfer that does, or was put off."""
    without_a_plan = exists().where(
        member_transfers.c.set_id == members.c.set_id,
        member_transfers.c.device_id == members.c.device_id,
        transfers.c.transfer_id == member_transfers.c.transfer_id,
        transfers.c.state == "queued",
        transfers.c.sources.is_(None),
    )
    lacking = or_(members.c.state == "waiting_inventory", members.c.plan_at.is_not(None), without_a_plan)
    its_set_is_open = exists().where(sets.c.set_id == members.c.set_id, sets.c.state.in_(sorted(OPEN_SET)))
    return select(members.c.set_id).where(
        members.c.device_id == bindparam("device"),
        members.c.state.in_(sorted(BEFORE_ARRIVAL)),
        lacking,
        its_set_is_open,
    )


_TO_PLAN = _to_plan()
