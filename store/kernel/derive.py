"""Where its transfers lead a member: asked for the members of the transfers that moved, and for no others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, select

from contracts.states import ON_DEVICE, STARTED_SET
from store.kernel.schema import member_transfers, members, sets, transfers
from store.kernel.tools import HELD, IDS, chunks

LED = ("in_transit", "ready")
"""Member states that follow from its transfers. Looked at here: SQLite would begin with all members in them."""


@dataclass(frozen=True)
class Led:
    """A member that has to move, and why."""

    set_id: str
    device_id: str
    old: str
    new: str
    code: str | None
    detail: str | None
    at: datetime
    """When the last of the transfers moved that lead it on."""


def led_members(connection: Connection, moved: Mapping[str, datetime]) -> Iterator[Led]:
    """Members of started sets that wait for one of these transfers and have to move, in order of set and device.

    Args:
        moved: Transfer and when it moved.
    """
    seen: set[tuple[str, str]] = set()
    for part in chunks(moved):
        rows = connection.execute(_TRANSFERS_OF_MEMBERS, {"ids": part}).all()
        for (set_id, device_id, state), its in groupby(rows, lambda row: (row.set_id, row.device_id, row.member)):
            its_transfers = list(its)
            if state not in LED or (set_id, device_id) in seen:
                continue
            seen.add((set_id, device_id))
            new, cause = _next_state(state, its_transfers)
            if new is not None:
                at = max(moved[one.transfer_id] for one in its_transfers if one.transfer_id in moved)
                yield Led(set_id, device_id, state, new, *_reason(cause), at)


def transfers_of(connection: Connection, set_id: str, device_ids: Collection[str]) -> Iterator[str]:
    """What members wait for that are started now: it may have moved before they waited."""
    for part in chunks(device_ids):
        yield from connection.execute(_TRANSFERS_OF_STARTED, {"set": set_id, "ids": part}).scalars()


_TRANSFERS_OF_STARTED = select(member_transfers.c.transfer_id).where(
    member_transfers.c.set_id == bindparam("set"), member_transfers.c.device_id.in_(IDS)
)


def _transfers_of_members() -> Any:
    """Every transfer of each member that is linked to one of these."""
    moved, others = member_transfers.alias(), member_transfers.alias()
    waiting = select(moved.c.set_id, moved.c.device_id).where(moved.c.transfer_id.in_(IDS)).distinct().subquery()
    return (
        select(
            members.c.set_id,
            members.c.device_id,
            members.c.state.label("member"),
            transfers.c.transfer_id,
            transfers.c.state,
            transfers.c.reference,
            transfers.c.code,
            transfers.c.detail,
        )
        .select_from(
            waiting.join(
                members, and_(members.c.set_id == waiting.c.set_id, members.c.device_id == waiting.c.device_id)
            )
            .join(others, and_(others.c.set_id == members.c.set_id, others.c.device_id == members.c.device_id))
            .join(transfers, transfers.c.transfer_id == others.c.transfer_id)
        )
        .with_hint(members, HELD, "mssql")
        .where(_is_started())
        .order_by(members.c.set_id, members.c.device_id, transfers.c.created_at, transfers.c.transfer_id)
    )


def _is_started() -> ColumnElement[bool]:
    """Asked of each set that is found: a join would let SQLite begin with all members of every started set."""
    return exists().where(sets.c.set_id == members.c.set_id, sets.c.state.in_(sorted(STARTED_SET)))


_TRANSFERS_OF_MEMBERS = _transfers_of_members()


def _next_state(state: str, its_transfers: Sequence[Any]) -> tuple[str | None, Any]:
    """The member's next state, None when it stays, and the transfer that is the reason of a failure."""
    done = all(transfer.state in ON_DEVICE for transfer in its_transfers)
    if state == "ready":
        return (None, None) if done else ("in_transit", None)
    failed = next((transfer for transfer in its_transfers if transfer.state == "failed"), None)
    if failed is not None:
        return "failed", failed
    if any(transfer.state == "cancelled" for transfer in its_transfers):
        return "planned", None
    return ("ready", None) if done else (None, None)


def _reason(cause: Any) -> tuple[str | None, str | None]:
    if cause is None:
        return None, None
    return cause.code or "transfer.failed", f"{cause.reference}: {cause.detail or cause.code or 'failed'}"
