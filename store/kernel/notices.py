"""What the owner of a set is to be told, each thing once; the words are found when the mail is sent.

A notification is written in the transaction that makes it due. While one of a kind is pending, all that happens
goes into it; what happens once it is on its way makes the next. So a set's mails are digests, however many devices.
Each channel has a notification of its own: one that is slow, or refuses, keeps nothing from the others.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, case, func, select
from sqlalchemy.exc import IntegrityError

from contracts.channels import MAIL
from contracts.states import NEEDS_APPROVAL
from imagedelta.errors import DependencyError
from store.kernel.engine import CHANNELS
from store.kernel.schema import notifications, sets
from store.kernel.tools import new_id

GATHER = timedelta(minutes=5)
"""How long a mail on single devices waits for more of them."""
BETWEEN = timedelta(hours=1)
"""From one mail on single devices to the next of its kind."""

OF_MEMBER = {"failed": "member_failed", "conflict": "conflict", "apply_failed": "apply_failed"}
OF_SET = {
    "ready": "arrived",
    "completed": "completed",
    "completed_with_failures": "completed",
    "failed": "failed",
    "awaiting_approval": "awaiting_approval",
}
_DIGESTS = frozenset({*OF_MEMBER.values(), "silent"})
_RIVALS = 3
_Where = tuple[ColumnElement[bool], ...]


def of_set_state(state: str) -> str | None:
    """The kind of notification that a set's new state calls for, if any."""
    return OF_SET.get(state)


def of_member_state(state: str, code: str | None) -> str | None:
    """The kind of notification that a member's new state calls for, if any."""
    return "awaiting_approval" if code == NEEDS_APPROVAL else OF_MEMBER.get(state)


def announce(connection: Connection, set_id: str, kind: str, at: datetime) -> None:
    """See that on each channel one of the kind goes out after this moment: the one that is pending, or a new one.

    A set without a manifest is complete in the moment in which it has arrived: that is told once, as complete.

    Raises: DependencyError when others were quicker again and again; the whole transaction is to be tried again.
    """
    if kind == "arrived" and not _has_manifest(connection, set_id):
        return
    for channel in connection.get_execution_options()[CHANNELS]:
        _announce_on(channel, connection, set_id, kind, at)


def _announce_on(channel: str, connection: Connection, set_id: str, kind: str, at: datetime) -> None:
    these = (notifications.c.set_id == set_id, notifications.c.channel == channel, notifications.c.kind == kind)
    for _ in range(_RIVALS):
        if _joined(connection, these) or _inserted(connection, these, (set_id, channel, kind), at):
            return
    raise DependencyError(f"the notifications of {set_id} changed {_RIVALS} times meanwhile")


def _joined(connection: Connection, these: _Where) -> bool:
    """The pending one is held until commit, so that its sender reads what is committed with it."""
    pending = (*these, notifications.c.state == "pending")
    touched = notifications.update().where(*pending).values(locks=notifications.c.locks + 1)
    return connection.execute(touched).rowcount > 0


def _inserted(connection: Connection, these: _Where, of: tuple[str, str, str], at: datetime) -> bool:
    """False when a rival's has this number now."""
    try:
        with connection.begin_nested():
            _insert(connection, these, of, at)
    except IntegrityError:
        return False
    return True


def _insert(connection: Connection, these: _Where, of: tuple[str, str, str], at: datetime) -> None:
    set_id, channel, kind = of
    on_its_way = func.max(case((notifications.c.state == "claimed", 1), else_=0))
    query = select(func.max(notifications.c.number), func.max(notifications.c.sent_at), on_its_way).where(*these)
    number, sent_at, goes_out = connection.execute(query).one()
    owner = select(sets.c.owner_email).where(sets.c.set_id == set_id)
    connection.execute(
        notifications.insert().values(
            notification_id=new_id("notification"),
            set_id=set_id,
            channel=channel,
            kind=kind,
            number=(number or 0) + 1,
            recipient=connection.execute(owner).scalar_one() if channel == MAIL else None,
            state="pending",
            tries=0,
            not_before=_not_before(kind, at, at if goes_out else sent_at),
            created_at=at,
            locks=0,
        )
    )


def _not_before(kind: str, at: datetime, last: datetime | None) -> datetime:
    if kind not in _DIGESTS:
        return at
    return max(at + GATHER, last + BETWEEN) if last else at + GATHER


def _has_manifest(connection: Connection, set_id: str) -> bool:
    query = select(sets.c.set_id).where(sets.c.set_id == set_id, sets.c.manifest.is_not(None))
    return connection.execute(query).first() is not None
