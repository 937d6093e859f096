"""Notifications on their way out: claimed, then sent, tried again later, dropped, or dead.

A claim moves ``not_before`` to its own end: one whose sender died is due again then, as any other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from contracts.records import Notification, Page
from contracts.states import NOTIFIABLE, NOTIFICATION
from store.kernel.due import oldest_first
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import notifications
from store.kernel.tools import as_record


class SqlNotifications:
    """Implements services.store_port.Notifications."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Of each set the earliest first: nobody reads that a set is complete, and then that its images arrived."""
        row = notifications.c
        query = select(row.notification_id, row.not_before).where(~_follows_another(at))
        found = self._db.read(
            lambda connection: oldest_first(connection, query, row.state, NOTIFIABLE, row.not_before, at, limit)
        )
        return tuple(one["notification_id"] for one in found)

    def claim(self, notification_id: str, lease: timedelta, max_tries: int, at: datetime) -> Notification | None:
        return self._db.write(lambda connection: _claim(connection, notification_id, at + lease, max_tries, at))

    def sent(self, notification_id: str, subject: str, body: str, at: datetime) -> bool:
        values = {"sent_at": at, "not_before": at, "detail": None, "subject": subject, "body": body}
        return self._leave_claim(notification_id, "sent", values)

    def drop(self, notification_id: str) -> bool:
        return self._leave_claim(notification_id, "dropped", {"detail": None})

    def failed(self, notification_id: str, detail: str, until: datetime | None) -> bool:
        if until is None:
            return self._leave_claim(notification_id, "dead", {"detail": detail})
        return self._leave_claim(notification_id, "pending", {"detail": detail, "not_before": until})

    def put_off(self, channel: str, until: datetime, at: datetime) -> None:
        these = (
            notifications.c.channel == channel,
            notifications.c.state == "pending",
            notifications.c.not_before <= at,
        )
        statement = notifications.update().where(*these).values(not_before=until)
        self._db.write(lambda connection: connection.execute(statement))

    def of_set(self, set_id: str) -> tuple[Notification, ...]:
        query = (
            select(notifications)
            .where(notifications.c.set_id == set_id)
            .order_by(notifications.c.created_at, notifications.c.kind, notifications.c.number, notifications.c.channel)
        )
        return self._db.read(
            lambda connection: tuple(as_record(Notification, row) for row in connection.execute(query).mappings())
        )

    def list_of_set(self, set_id: str, *, limit: int, after: str | None) -> Page:
        query = select(notifications).where(notifications.c.set_id == set_id)
        keys = (notifications.c.created_at, notifications.c.notification_id)
        make = each(lambda row: as_record(Notification, row))
        return self._db.read(
            lambda connection: fetch_page(connection, query, keys, make, limit=limit, after=after, newest_first=True)
        )

    def _leave_claim(self, notification_id: str, state: str, values: dict[str, Any]) -> bool:
        NOTIFICATION.check("claimed", state)
        where = (notifications.c.notification_id == notification_id, notifications.c.state == "claimed")
        statement = notifications.update().where(*where).values(state=state, **values)
        return self._db.write(lambda connection: connection.execute(statement).rowcount > 0)


def _claim(
    connection: Connection, notification_id: str, until: datetime, max_tries: int, at: datetime
) -> Notification | None:
    this = notifications.c.notification_id == notification_id
    due = (this, notifications.c.state.in_(sorted(NOTIFIABLE)), notifications.c.not_before <= at)
    taken = {"state": "claimed", "not_before": until, "tries": notifications.c.tries + 1}
    if not connection.execute(notifications.update().where(*due).values(**taken)).rowcount:
        return None
    claimed = as_record(Notification, connection.execute(select(notifications).where(this)).mappings().one())
    if claimed.tries <= max_tries:
        return claimed
    dead = {"state": "dead", "detail": claimed.detail or f"its sender died {max_tries} times"}
    connection.execute(notifications.update().where(this).values(**dead))
    return None


def _follows_another(at: datetime) -> ColumnElement[bool]:
    """Whether an earlier one of the set goes out now that way; one that is tried again later holds nothing up."""
    earlier = notifications.alias("earlier")
    goes_out = or_(earlier.c.state == "claimed", and_(earlier.c.state == "pending", earlier.c.not_before <= at))
    return exists().where(
        earlier.c.set_id == notifications.c.set_id,
        earlier.c.channel == notifications.c.channel,
        earlier.c.created_at < notifications.c.created_at,
        goes_out,
    )
