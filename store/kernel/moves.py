"""The only places where the state of a set, a member or a transfer changes.

Each is one conditional UPDATE along contracts.states, with its line in the history and the notification it
makes due, in the caller's transaction. A move that finds another state than it expected changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from contracts.records import Transfer
from contracts.states import MEMBER, SET, TRANSFER
from store.kernel.history import remember
from store.kernel.notices import announce_member, announce_set
from store.kernel.schema import members, sets, transfers
from store.sets.links import close_links
from store.sets.rows import this_member

MAX_DETAIL = 2000
UNPLANNED: Mapping[str, None] = dict.fromkeys(("sources", "patch_id", "estimated_bytes", "unregistered"))
"""Columns of a transfer's plan, once it holds no more."""


def move_set(connection: Connection, set_id: str, old: str, new: str, mover: str, at: datetime, **values: Any) -> bool:
    """``values``: code, detail and other columns of the set; ``who`` for the history (else the mover)."""
    SET.check(old, new, mover)
    who = values.pop("who", mover)
    reason = _reason(values)
    where = (sets.c.set_id == set_id, sets.c.state == old)
    if not connection.execute(
        sets.update().where(*where).values(state=new, updated_at=at, **reason, **values)
    ).rowcount:
        return False
    remember(connection, "set", set_id, old, new, at, set_id=set_id, who=who, **reason)
    announce_set(connection, set_id, new, at)
    return True


def move_member(
    connection: Connection,
    set_id: str,
    device_id: str,
    old: str,
    new: str,
    mover: str,
    at: datetime,
    **values: Any,
) -> bool:
    MEMBER.check(old, new, mover)
    who = values.pop("who", mover)
    reason = _reason(values)
    where = (this_member(set_id, device_id), members.c.state == old)
    statement = members.update().where(*where).values(state=new, updated_at=at, **reason, **values)
    if not connection.execute(statement).rowcount:
        return False
    remember(connection, "member", device_id, old, new, at, set_id=set_id, who=who, **reason)
    announce_member(connection, set_id, new, reason["code"], at)
    return True


def move_transfer(
    connection: Connection, transfer: Transfer, new: str, mover: str, at: datetime, **values: Any
) -> bool:
    """Move the transfer on from the state and attempt that ``transfer`` shows.

    ``values``: columns to set; ``who`` for the history; ``bytes`` for the statistics; ``sequence`` of the
    report, 0 when the move is not a report's.
    """
    if new != transfer.state:
        TRANSFER.check(transfer.state, new, mover)
    who, moved_bytes = values.pop("who", mover), values.pop("bytes", None)
    reason = _reason(values)
    where = (
        transfers.c.transfer_id == transfer.transfer_id,
        transfers.c.state == transfer.state,
        transfers.c.attempt == transfer.attempt,
    )
    statement = transfers.update().where(*where).values(state=new, updated_at=at, **reason, **values)
    if not connection.execute(statement).rowcount:
        return False
    remember(
        connection,
        "transfer",
        transfer.transfer_id,
        transfer.state,
        new,
        at,
        transfer_id=transfer.transfer_id,
        attempt=values.get("attempt", transfer.attempt),
        sequence=values.get("sequence"),
        who=who,
        bytes=moved_bytes,
        **reason,
    )
    return True


def requeue(connection: Connection, transfer: Transfer, mover: str, at: datetime, **values: Any) -> bool:
    """Start the next attempt, without a plan: sources are chosen anew."""
    close_links(connection, transfer)
    return move_transfer(
        connection,
        transfer,
        "queued",
        mover,
        at,
        attempt=transfer.attempt + 1,
        sequence=0,
        **UNPLANNED,
        local_digest=None,
        **values,
    )


def _reason(values: dict[str, Any]) -> dict[str, str | None]:
    detail = values.pop("detail", None)
    return {"code": values.pop("code", None), "detail": detail[:MAX_DETAIL] if detail else None}
