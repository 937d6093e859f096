"""Whether devices run what was released to them, for many at once: claimed, and written down by what was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, select

from contracts.records import Member, Release
from contracts.states import CONFIRMABLE, TIMER
from services.store_port import Confirmation, MemberClaim, MemberDue
from store.kernel.ledger import Ledger
from store.kernel.schema import members, releases
from store.kernel.tools import as_record, lock_devices

Key = tuple[str, str]


def claim(
    connection: Connection, these: Collection[MemberDue], until: datetime, at: datetime
) -> tuple[MemberClaim, ...]:
    """Those that nobody else has taken meanwhile, and other due ones of the same sets and devices.

    Two columns of lists instead of pairs: SQL Server knows no IN of pairs.
    """
    in_state = members.c.state.in_(sorted(CONFIRMABLE))
    of_these = (
        members.c.set_id.in_(sorted({one.set_id for one in these})),
        members.c.device_id.in_(sorted({one.device_id for one in these})),
    )
    taken = {"next_try_at": until, "tries": members.c.tries + 1}
    connection.execute(members.update().where(*of_these, in_state, members.c.next_try_at <= at).values(**taken))
    query = select(members).where(*of_these, in_state, members.c.next_try_at == until)
    rows = connection.execute(query.order_by(members.c.device_id, members.c.set_id)).mappings()
    return tuple(MemberClaim(as_record(Member, row), until, row["tries"]) for row in rows)


def releases_of(connection: Connection, claims: Collection[MemberClaim]) -> Mapping[Key, Release]:
    query = select(releases).where(
        releases.c.set_id.in_(sorted({claim.member.set_id for claim in claims})),
        releases.c.device_id.in_(sorted({claim.member.device_id for claim in claims})),
    )
    rows = connection.execute(query).mappings()
    return {(row["set_id"], row["device_id"]): as_record(Release, row) for row in rows}


def record(connection: Connection, found: Sequence[Confirmation], at: datetime) -> int:
    """Keep when each is looked at again, and move those whose state is another one. How many moved."""
    if not found:
        return 0
    moved = [one for one in found if one.state != one.claim.member.state]
    _look_again(connection, found)
    if moved:
        _move(connection, moved, at)
    return len(moved)


def _move(connection: Connection, moved: Sequence[Confirmation], at: datetime) -> None:
    lock_devices(connection, [one.claim.member.device_id for one in moved])
    states = _states(connection, moved)
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for one in moved:
        member = one.claim.member
        if states.get((member.set_id, member.device_id)) == member.state:
            alike[member.set_id, member.state, one.state, one.code, one.detail, one.again_at].append(member.device_id)
    with Ledger(connection, TIMER, at) as ledger:
        for (set_id, old, new, code, detail, again_at), device_ids in alike.items():
            ledger.members(set_id, device_ids, old, new, code=code, detail=detail, next_try_at=again_at)


def _states(connection: Connection, found: Sequence[Confirmation]) -> dict[Key, str]:
    """Read while the devices are held."""
    query = select(members.c.set_id, members.c.device_id, members.c.state).where(
        members.c.set_id.in_(sorted({one.claim.member.set_id for one in found})),
        members.c.device_id.in_(sorted({one.claim.member.device_id for one in found})),
    )
    return {(set_id, device_id): state for set_id, device_id, state in connection.execute(query)}


def _look_again(connection: Connection, found: Sequence[Confirmation]) -> None:
    """A device that was heard from meanwhile stays due: then the column no longer shows the claim."""
    statement = (
        members.update()
        .where(
            members.c.set_id == bindparam("of_set"),
            members.c.device_id == bindparam("of_device"),
            members.c.state == bindparam("as_it_is"),
            members.c.next_try_at == bindparam("claimed"),
        )
        .values(next_try_at=bindparam("again_at"), seen_at=bindparam("first_seen_at"))
    )
    rows = [
        {
            "of_set": one.claim.member.set_id,
            "of_device": one.claim.member.device_id,
            "as_it_is": one.claim.member.state,
            "claimed": one.claim.until,
            "again_at": one.again_at,
            "first_seen_at": one.seen_at,
        }
        for one in found
    ]
    connection.execute(statement, rows)
