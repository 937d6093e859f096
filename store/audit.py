"""Who did what, each order once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select

from contracts.records import AuditEntry, Page
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import audit
from store.kernel.tools import as_record


class SqlAudit:
    """Implements services.store_port.Audit."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(
        self,
        order_id: str,
        request_digest: str,
        *,
        who: str,
        how: str,
        action: str,
        subject: str,
        detail: Mapping[str, Any],
        at: datetime,
    ) -> None:
        order = {"order_id": order_id, "request_digest": request_digest}
        said = {"who": who, "how": how, "action": action, "subject": subject, "detail": dict(detail)}
        statement = audit.insert().values(**order, **said, at=at)
        self._db.write(lambda connection: connection.execute(statement))

    def entry_of(self, order_id: str) -> AuditEntry | None:
        query = select(audit).where(audit.c.order_id == order_id)
        row = self._db.read(lambda connection: connection.execute(query).mappings().first())
        return as_record(AuditEntry, row) if row else None

    def list_entries(
        self,
        *,
        who: str | None,
        subject: str | None,
        action: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int,
        after: str | None,
    ) -> Page:
        query = select(audit)
        for column, wanted in ((audit.c.who, who), (audit.c.subject, subject), (audit.c.action, action)):
            if wanted is not None:
                query = query.where(column == wanted)
        if start is not None:
            query = query.where(audit.c.at >= start)
        if end is not None:
            query = query.where(audit.c.at < end)
        keys, make = (audit.c.at, audit.c.entry_id), each(lambda row: as_record(AuditEntry, row))
        return self._db.read(
            lambda connection: fetch_page(connection, query, keys, make, limit=limit, after=after, newest_first=True)
        )
