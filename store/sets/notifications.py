"""Notifications on their way out: claimed under a lease, then sent, tried again later, dropped, or dead."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from contracts.records import Notification, Page
from contracts.states import NOTIFICATION
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import notifications
from store.kernel.tools import as_record

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=6)


class SqlNotifications:
    """Implements services.store_port.Notifications."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, at: datetime, limit: int) -> tuple[str, ...]:
        """Of each set the earliest first: nobody reads that a set is complete, and then that its images arrived."""
        query = (
            select(notifications.c.notification_id)
            .where(_free(at), ~_follows_another(at))
            .order_by(notifications.c.not_before, notifications.c.notification_id)
            .limit(limit)
        )
        return self._db.read(lambda connection: tuple(connection.execute(query).scalars()))

    def claim(self, notification_id: str, lease: timedelta, at: datetime) -> Notification | None:
        statement = (
            notifications.update()
            .where(notifications.c.notification_id == notification_id, _free(at))
            .values(state="claimed", lease_until=at + lease, tries=notifications.c.tries + 1)
        )

        def work(connection: Connection) -> Notification | None:
            return _find(connection, notification_id) if connection.execute(statement).rowcount else None

        return self._db.write(work)

    def sent(self, notification_id: str, subject: str, body: str, at: datetime) -> bool:
        values = {"sent_at": at, "detail": None, "subject": subject, "body": body}
        return self._leave_claim(notification_id, "sent", values)

    def drop(self, notification_id: str) -> bool:
        return self._leave_claim(notification_id, "dropped", {"detail": None})

    def failed(self, notification_id: str, detail: str, *, final: bool, max_tries: int, at: datetime) -> bool:
        known = self._db.read(lambda connection: _find(connection, notification_id))
        if known is None:
            return False
        if final or known.tries >= max_tries:
            return self._leave_claim(notification_id, "dead", {"detail": detail})
        pause = min(FIRST_PAUSE * 2 ** min(known.tries - 1, 20), LONGEST_PAUSE)
        return self._leave_claim(notification_id, "pending", {"detail": detail, "not_before": at + pause})

    def of_set(self, set_id: str) -> tuple[Notification, ...]:
        query = (
            select(notifications)
            .where(notifications.c.set_id == set_id)
            .order_by(notifications.c.created_at, notifications.c.kind, notifications.c.number)
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
        statement = notifications.update().where(*where).values(state=state, lease_until=None, **values)
        return self._db.write(lambda connection: connection.execute(statement).rowcount > 0)


def _find(connection: Connection, notification_id: str) -> Notification | None:
    query = select(notifications).where(notifications.c.notification_id == notification_id)
    row = connection.execute(query).mappings().first()
    return as_record(Notification, row) if row else None


def _follows_another(at: datetime) -> ColumnElement[bool]:
    """Whether an earlier mail of the set goes out now; one that is tried again later holds nothing up."""
    earlier = notifications.alias("earlier")
    goes_out = or_(earlier.c.state == "claimed", and_(earlier.c.state == "pending", earlier.c.not_before <= at))
    return exists().where(
        earlier.c.set_id == notifications.c.set_id, earlier.c.created_at < notifications.c.created_at, goes_out
    )


def _free(at: datetime) -> Any:
    pending = and_(notifications.c.state == "pending", notifications.c.not_before <= at)
    lease_is_over = and_(notifications.c.state == "claimed", notifications.c.lease_until < at)
    return or_(pending, lease_is_over)
