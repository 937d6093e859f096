"""A cancelled set is taken back in parts: the order itself is one short transaction, its devices follow.

A set that is cancelled wants nothing any more, so nobody has to hurry; and a part that died is simply done again,
since what is left is found by the members' states.
"""

from __future__ import annotations

from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, select

from contracts.states import ACTIVE_TRANSFER, API, MEMBER, TIMER
from store.kernel.ledger import Ledger
from store.kernel.schema import members
from store.kernel.tools import lock_devices
from store.transfers.withdraw import withdraw

PART = 200
"""Members of one transaction."""


def withdraw_part(connection: Connection, set_id: str, at: datetime, limit: int = PART) -> bool:
    """Let the next members of a cancelled set go, and take back what was sent for them alone; whether more are left.

    A member whose manifest is being set right now is left: it ends as released, or comes back here.
    """
    found = {device_id for device_id, _state in _next(connection, set_id, limit)}
    lock_devices(connection, found)
    # as they are now that their devices are held; who became the next meanwhile is not held
    held = [member for member in _next(connection, set_id, limit) if member[0] in found]
    with Ledger(connection, API, at, TIMER) as ledger:  # a person cancelled the set, the timer carries it out
        for state, alike in groupby(sorted(held, key=_state), key=_state):
            ledger.members(set_id, [device_id for device_id, _state in alike], state, "cancelled")
        withdraw(ledger, set_id, [device_id for device_id, _state in held], ACTIVE_TRANSFER, f"{set_id} was cancelled")
    return len(found) == limit


def _state(member: tuple[str, str]) -> str:
    return member[1]


def _next(connection: Connection, set_id: str, limit: int) -> list[tuple[str, str]]:
    """(device, state), in order of device, so that two workers hold them in one order."""
    query = (
        select(members.c.device_id, members.c.state)
        .where(members.c.set_id == set_id, members.c.state.in_(sorted(MEMBER.leading_to("cancelled", API))))
        .order_by(members.c.device_id)
        .limit(limit)
    )
    return [(device_id, state) for device_id, state in connection.execute(query)]
