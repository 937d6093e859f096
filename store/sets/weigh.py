"""What a plan costs before it is started, and what the cost guard decided: the figures of the API and the mails."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, and_, select

from contracts.records import Cost, FullBundle
from contracts.states import NEEDS_APPROVAL, OPEN_SET, ORCHESTRATOR, UNPUBLISHED
from store.kernel.ledger import Ledger
from store.kernel.schema import member_transfers, members, patches, transfers
from store.kernel.tools import lock_devices
from store.sets.figures import figures_of_planned
from store.sets.rows import known_set
from store.transfers.patch_requests import sources_key


def costs(connection: Connection, set_id: str) -> tuple[Cost, ...]:
    figures = figures_of_planned(connection, set_id)
    full = _full_bundles(connection, set_id)
    return tuple(
        Cost(device_id, its.planned_bytes, tuple(full.get(device_id, ()))) for device_id, its in sorted(figures.items())
    )


def _full_bundles(connection: Connection, set_id: str) -> dict[str, list[FullBundle]]:
    """Device -> images that are still to be published to it and start from nothing."""
    its_member = and_(
        members.c.set_id == member_transfers.c.set_id, members.c.device_id == member_transfers.c.device_id
    )
    query = (
        select(member_transfers.c.device_id, member_transfers.c.reference, transfers.c.unregistered)
        .select_from(member_transfers.join(members, its_member).join(transfers).join(patches))
        .where(
            member_transfers.c.set_id == set_id,
            members.c.state == "planned",
            transfers.c.state.in_(sorted(UNPUBLISHED)),
            patches.c.sources_key == sources_key(()),
        )
        .order_by(member_transfers.c.device_id, member_transfers.c.reference)
    )
    found: dict[str, list[FullBundle]] = {}
    for device_id, reference, unregistered in connection.execute(query):
        found.setdefault(device_id, []).append(FullBundle(reference, tuple(unregistered or ())))
    return found


def hold_back(connection: Connection, set_id: str, reasons: Mapping[str, str], at: datetime) -> None:
    """Each for its own reason; one that has moved meanwhile is left alone."""
    lock_devices(connection, reasons)
    if known_set(connection, set_id).state not in OPEN_SET:
        return
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        for device_id, detail in sorted(reasons.items()):
            ledger.member(set_id, device_id, "planned", "failed", code=NEEDS_APPROVAL, detail=detail)
