"""What sets that ended long ago have left at their devices: members, links, releases, and transfers of no other set.

What stands on a device is kept whatever its age, with what a rollback would return to: the newest sets of each
workstream that arrived there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, exists, select

from contracts.states import ARRIVED, GONE_SET, SET, TRANSFER
from store.devices.desired import KEPT_SETS
from store.kernel.schema import bundles, devices, member_transfers, members, releases, sets, transfers
from store.kernel.tools import chunks, lock_devices
from store.retained.lines import lines_of_transfers, remove_lines

MEMBERS = timedelta(days=730)
"""After their set has ended."""
MANIFESTS = timedelta(days=30)
"""Of a release that newer ones have replaced: what was set, and what stood there before."""
DEVICES = 50
"""Of one part."""


@dataclass(frozen=True)
class Kept:
    """A member, as far as its keeping depends on it."""

    set_id: str
    device_id: str
    workstream: str
    member: str
    set: str
    moved_at: datetime
    """When its set or it moved last."""


def forget_of_devices(connection: Connection, after: Any, at: datetime) -> Any:
    query = select(devices.c.device_id).where(devices.c.device_id > (after or "")).order_by(devices.c.device_id)
    device_ids = connection.execute(query.limit(DEVICES)).scalars().all()
    if device_ids and _any_old(connection, device_ids, at):
        lock_devices(connection, device_ids)
        replaced = replaced_members(_members(connection, device_ids))
        _empty_releases(connection, replaced, at - MANIFESTS)
        _forget_members(connection, [member for member in replaced if _is_over(member, at - MEMBERS)], at - MEMBERS)
    return device_ids[-1] if len(device_ids) == DEVICES else None


def replaced_members(found: Iterable[Kept]) -> list[Kept]:
    """Members but for the newest ``KEPT_SETS`` that arrived in each workstream of a device; newest come first."""
    arrived: dict[tuple[str, str], int] = defaultdict(int)
    replaced = []
    for member in found:
        if member.member in ARRIVED and member.set not in GONE_SET:
            arrived[member.device_id, member.workstream] += 1
            if arrived[member.device_id, member.workstream] <= KEPT_SETS:
                continue
        replaced.append(member)
    return replaced


def _is_over(member: Kept, cutoff: datetime) -> bool:
    return member.set in SET.terminal and member.moved_at < cutoff


def _any_old(connection: Connection, device_ids: Sequence[str], at: datetime) -> bool:
    """So that devices of which nothing is old are not held."""
    of_these = (members.c.device_id.in_(device_ids), members.c.updated_at < at - MANIFESTS)
    return connection.execute(select(members.c.set_id).where(*of_these).limit(1)).first() is not None


def _members(connection: Connection, device_ids: Sequence[str]) -> list[Kept]:
    query = (
        select(
            members.c.set_id,
            members.c.device_id,
            sets.c.workstream,
            members.c.state,
            sets.c.state.label("of_set"),
            members.c.updated_at,
            sets.c.updated_at.label("set_updated_at"),
        )
        .join(sets)
        .where(members.c.device_id.in_(device_ids))
        .order_by(members.c.device_id, sets.c.ordinal.desc())
    )
    return [
        Kept(row.set_id, row.device_id, row.workstream, row.state, row.of_set, max(row.updated_at, row.set_updated_at))
        for row in connection.execute(query)
    ]


def _empty_releases(connection: Connection, replaced: Sequence[Kept], cutoff: datetime) -> None:
    """But those of devices that have been without a link since: what was released is looked for when they are back."""
    old = (member for member in replaced if member.moved_at < cutoff and member.member != "released")
    for set_id, device_ids in _by_set(old).items():
        these = (releases.c.set_id == set_id, releases.c.device_id.in_(device_ids), releases.c.content != {})
        connection.execute(releases.update().where(*these).values(content={}, previous={}))


def _forget_members(connection: Connection, over: Sequence[Kept], cutoff: datetime) -> None:
    for set_id, device_ids in _by_set(over).items():
        of_these = and_(member_transfers.c.set_id == set_id, member_transfers.c.device_id.in_(device_ids))
        transfer_ids = connection.execute(select(member_transfers.c.transfer_id).where(of_these)).scalars().all()
        connection.execute(member_transfers.delete().where(of_these))
        connection.execute(releases.delete().where(releases.c.set_id == set_id, releases.c.device_id.in_(device_ids)))
        connection.execute(members.delete().where(members.c.set_id == set_id, members.c.device_id.in_(device_ids)))
        for part in chunks(transfer_ids):
            _forget_transfers(connection, part)


def _forget_transfers(connection: Connection, transfer_ids: Sequence[str]) -> None:
    """Those that have ended and that no other set is linked to."""
    is_linked = exists().where(member_transfers.c.transfer_id == transfers.c.transfer_id)
    ended = transfers.c.state.in_(sorted(TRANSFER.terminal))
    query = select(transfers.c.transfer_id).where(transfers.c.transfer_id.in_(transfer_ids), ended, ~is_linked)
    gone = connection.execute(query).scalars().all()
    if gone:
        remove_lines(connection, lines_of_transfers(connection, gone))
        connection.execute(bundles.delete().where(bundles.c.transfer_id.in_(gone)))
        connection.execute(transfers.delete().where(transfers.c.transfer_id.in_(gone)))


def _by_set(found: Iterable[Kept]) -> Mapping[str, list[str]]:
    alike: dict[str, list[str]] = defaultdict(list)
    for member in found:
        alike[member.set_id].append(member.device_id)
    return alike
