"""What is forgotten, and when: of every table that grows, in parts of one short transaction each.

A kind goes through its table once, in order of a key, and gives back the key to go on from; whatever it leaves is so
little that the next pass is short. So a part never costs more for what has to be kept. Source: docs/schema.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select

from contracts.states import NOTIFICATION, SET
from store.kernel.engine import Database
from store.kernel.schema import (
    audit,
    device_installations,
    devices,
    history,
    members,
    notifications,
    quarantine,
    registrations,
    sets,
)
from store.retained.devices import forget_of_devices
from store.retained.lines import forget_lines
from store.retained.patches import SqlOldPatches

Part = Callable[[Connection, Any, datetime], Any]
"""Forget a part of a kind: (connection, key to go on from, now) -> the next such key, None at the end."""

AUDIT = timedelta(days=730)
"""And as long is an Idempotency-Key known."""
MAIL_TEXTS = timedelta(days=90)
REGISTRATIONS = timedelta(days=365)
INSTALLATIONS = timedelta(days=365)
QUARANTINE = timedelta(days=90)
ROWS = 1000
"""Of one part."""


class SqlRetention:
    """Implements services.store_port.Retention."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.patches = SqlOldPatches(database)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(_KINDS)

    def forget(self, kind: str, after: Any, at: datetime) -> Any:
        return self._db.write(lambda connection: _KINDS[kind](connection, after, at))


def _rows(table: Table, key: ColumnElement[Any], where: Callable[[datetime], ColumnElement[bool]]) -> Part:
    """A kind whose rows nothing depends on."""

    def part(connection: Connection, _after: Any, at: datetime) -> Any:
        keys = connection.execute(select(key).where(where(at)).order_by(key).limit(ROWS)).scalars().all()
        if keys:
            connection.execute(table.delete().where(where(at), key <= keys[-1]))
        return keys[-1] if len(keys) == ROWS else None

    return part


def _forget_sets(connection: Connection, after: Any, at: datetime) -> Any:
    """Sets of which no member is left (store.retained.devices)."""
    last = after or 0
    query = select(sets.c.ordinal, sets.c.set_id).where(sets.c.ordinal > last, *_emptied())
    found = connection.execute(query.order_by(sets.c.ordinal).limit(10)).all()
    for _ordinal, set_id in found:
        connection.execute(notifications.delete().where(notifications.c.set_id == set_id))
        connection.execute(history.delete().where(history.c.set_id == set_id))
        connection.execute(sets.delete().where(sets.c.set_id == set_id))
    return found[-1][0] if len(found) == 10 else None


def _emptied() -> tuple[ColumnElement[bool], ...]:
    none_left = ~select(members.c.device_id).where(members.c.set_id == sets.c.set_id).exists()
    return sets.c.state.in_(sorted(SET.terminal)), none_left


def _forget_mail_texts(connection: Connection, _after: Any, at: datetime) -> Any:
    """That a mail went out is known for as long as its set."""
    told = (notifications.c.state.in_(sorted(NOTIFICATION.terminal)), notifications.c.body.is_not(None))
    query = select(notifications.c.notification_id).where(*told, notifications.c.created_at < at - MAIL_TEXTS)
    ids = connection.execute(query.limit(ROWS // 2)).scalars().all()
    connection.execute(notifications.update().where(notifications.c.notification_id.in_(ids)).values(body=None))
    return ids[-1] if len(ids) == ROWS // 2 else None


def _old_installation(at: datetime) -> ColumnElement[bool]:
    is_present = select(devices.c.device_id).where(
        devices.c.device_id == device_installations.c.device_id,
        devices.c.installation_id == device_installations.c.installation_id,
    )
    return and_(device_installations.c.last_at < at - INSTALLATIONS, ~is_present.exists())


def _old_registration(at: datetime) -> ColumnElement[bool]:
    ended = registrations.c.state.in_(("registered", "failed"))
    return and_(ended, registrations.c.requested_at < at - REGISTRATIONS)


_KINDS: Mapping[str, Part] = {
    "history": forget_lines,
    "devices": forget_of_devices,
    "sets": _forget_sets,
    "mails": _forget_mail_texts,
    "audit": _rows(audit, audit.c.entry_id, lambda at: audit.c.at < at - AUDIT),
    "registrations": _rows(registrations, registrations.c.registration_id, _old_registration),
    "installations": _rows(device_installations, device_installations.c.installation_id, _old_installation),
    "quarantine": _rows(quarantine, quarantine.c.entry_id, lambda at: quarantine.c.at < at - QUARANTINE),
}
"""In this order: lines go before what they tell of, members before their sets."""
