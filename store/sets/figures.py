"""What sets cost on the links: planned, sent, and what whole images would have been.

Nothing of it is stored as a sum. It is added up from what each link to a transfer waits for, from the plan of the
transfer's present attempt, and from the bundles that are known to have reached the device; so a late plan, another
source, a rollback or an approval cannot leave an old number behind.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, select

from contracts.records import Figures
from contracts.states import NEEDS_APPROVAL, OUT
from store.kernel.schema import bundles, member_transfers, members, transfers
from store.kernel.tools import chunks
from store.sets.links import own_attempt, sent

_LINK = and_(
    members.c.set_id == member_transfers.c.set_id,
    members.c.device_id == member_transfers.c.device_id,
)
_BUNDLE = and_(bundles.c.transfer_id == transfers.c.transfer_id, own_attempt(bundles.c.attempt))


def figures_of_sets(connection: Connection, set_ids: Iterable[str]) -> dict[str, Figures]:
    """Set -> its figures; one that no plan was recorded for is absent."""
    return _figures(connection, member_transfers.c.set_id, member_transfers.c.set_id.in_(list(set_ids)))


def figures_of_members(
    connection: Connection, set_id: str, device_ids: Collection[str] | None = None
) -> dict[str, Figures]:
    """Device -> the figures of its part of the set; of all devices when none are named."""
    of_set = member_transfers.c.set_id == set_id
    if device_ids is None:
        return _figures(connection, member_transfers.c.device_id, of_set)
    found: dict[str, Figures] = {}
    for part in chunks(device_ids):
        of_part = and_(of_set, member_transfers.c.device_id.in_(part))
        found |= _figures(connection, member_transfers.c.device_id, of_part)
    return found


def figures_of_planned(connection: Connection, set_id: str) -> dict[str, Figures]:
    """Device -> the same, of members that are planned and not started."""
    planned = select(members.c.device_id).where(members.c.set_id == set_id, members.c.state == "planned")
    links = and_(member_transfers.c.set_id == set_id, member_transfers.c.device_id.in_(planned))
    return _figures(connection, member_transfers.c.device_id, links)


def _figures(connection: Connection, key: ColumnElement[str], where: ColumnElement[bool]) -> dict[str, Figures]:
    carried = {row[0]: row for row in connection.execute(_carried(key).where(where))}
    found = {}
    for name, planned, sent_before, whole in connection.execute(_expected(key).where(where)):
        _, planned_then, sent_then = carried.get(name, (name, 0, 0))
        found[name] = Figures(planned + planned_then, sent_before + sent_then, whole)
    return found


def _expected(key: ColumnElement[str]) -> Any:
    """Of links: what earlier transfers did for them, estimates of present attempts that stand and have not arrived,
    and what the images are whole, of those that arrived in the present attempt."""
    present = and_(_BUNDLE, bundles.c.attempt == transfers.c.attempt)
    arrived = bundles.c.received_at.is_not(None)
    to_come = and_(
        own_attempt(transfers.c.attempt),
        bundles.c.received_at.is_(None),
        transfers.c.state != "cancelled",
        members.c.state.not_in(sorted(OUT)),
        not_(and_(members.c.state == "failed", func.coalesce(members.c.code, "") == NEEDS_APPROVAL)),
    )
    planned = member_transfers.c.planned_before + case(
        (to_come, func.coalesce(transfers.c.estimated_bytes, 0)), else_=0
    )
    whole = case((arrived, transfers.c.full_bytes), else_=0)
    return (
        select(key, func.sum(planned), func.sum(member_transfers.c.sent_before), func.sum(whole))
        .select_from(member_transfers.join(members, _LINK).join(transfers).outerjoin(bundles, present))
        .group_by(key)
    )


def _carried(key: ColumnElement[str]) -> Any:
    """Of all attempts that were made for the set and arrived: what was planned for them, and sent."""
    return (
        select(key, func.sum(bundles.c.estimated_bytes), func.sum(sent()))
        .select_from(member_transfers.join(transfers).join(bundles, _BUNDLE))
        .where(bundles.c.received_at.is_not(None))
        .group_by(key)
    )
