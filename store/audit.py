"""Who did what, and answers given to Idempotency-Keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, select
from sqlalchemy.exc import IntegrityError

from contracts.records import AuditEntry, Page
from imagedelta.errors import RequestError
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import answers, audit
from store.kernel.tools import as_record


class SqlAudit:
    """Implements services.store_port.Audit."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, who: str, action: str, subject: str, detail: Mapping[str, Any], at: datetime) -> None:
        statement = audit.insert().values(who=who, action=action, subject=subject, detail=dict(detail), at=at)
        self._db.write(lambda connection: connection.execute(statement))

    def list_entries(self, *, who: str | None, subject: str | None, limit: int, after: str | None) -> Page:
        query = select(audit)
        if who is not None:
            query = query.where(audit.c.who == who)
        if subject is not None:
            query = query.where(audit.c.subject == subject)
        make = each(lambda row: as_record(AuditEntry, row))
        return self._db.read(
            lambda connection: fetch_page(
                connection, query, (audit.c.entry_id,), make, limit=limit, after=after, newest_first=True
            )
        )

    def remembered(self, key: str, route: str, request_digest: str, who: str) -> Mapping[str, Any] | None:
        row = self._db.read(lambda connection: _answer_row(connection, key, route, who))
        if row is None:
            return None
        if row["request_digest"] != request_digest:
            raise RequestError(
                f"Idempotency-Key {key} was used for another request", code="request.idempotency_mismatch", status=422
            )
        return row["answer"] or None

    def reserve(self, key: str, route: str, request_digest: str, who: str, lease: timedelta, at: datetime) -> bool:
        values = {**_named(key, route, who), "request_digest": request_digest, "answer": {}, "at": at}

        def work(connection: Connection) -> bool:
            row = _answer_row(connection, key, route, who)
            if row is None:
                return _insert(connection, values)
            if row["answer"] or row["at"] > at - lease:
                return False
            stale = answers.update().where(*_this(key, route, who), answers.c.at == row["at"])
            return connection.execute(stale.values(**values)).rowcount == 1

        return self._db.write(work)

    def remember(
        self, key: str, route: str, request_digest: str, who: str, answer: Mapping[str, Any], at: datetime
    ) -> None:
        values = {**_named(key, route, who), "request_digest": request_digest, "answer": dict(answer), "at": at}

        def work(connection: Connection) -> None:
            row = _answer_row(connection, key, route, who)
            if row is None:
                _insert(connection, values)
            elif not row["answer"]:
                connection.execute(answers.update().where(*_this(key, route, who)).values(**values))

        self._db.write(work)

    def forget(self, key: str, route: str, who: str) -> None:
        def work(connection: Connection) -> None:
            row = _answer_row(connection, key, route, who)
            if row is not None and not row["answer"]:
                connection.execute(answers.delete().where(*_this(key, route, who)))

        self._db.write(work)


def _named(key: str, route: str, who: str) -> dict[str, str]:
    return {"idempotency_key": key, "route": route, "who": who}


def _this(key: str, route: str, who: str) -> tuple[ColumnElement[bool], ...]:
    return answers.c.idempotency_key == key, answers.c.route == route, answers.c.who == who


def _answer_row(connection: Connection, key: str, route: str, who: str) -> RowMapping | None:
    """The row of a key; its answer is empty while the first request is being done."""
    return connection.execute(select(answers).where(*_this(key, route, who))).mappings().first()


def _insert(connection: Connection, values: Mapping[str, Any]) -> bool:
    """False when a rival was first."""
    try:
        with connection.begin_nested():
            connection.execute(answers.insert().values(**values))
    except IntegrityError:
        return False
    return True
