"""Patches: one row and one blob for each (target, sources, profile), built under a lease."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, or_, select
from sqlalchemy.exc import IntegrityError

from contracts.records import Page, Patch
from contracts.states import PATCH
from store.kernel.engine import Database
from store.kernel.paging import each, fetch_page
from store.kernel.schema import patches
from store.kernel.tools import as_record, new_id

MAX_DETAIL = 2000


class SqlPatches:
    """Implements services.store_port.Patches."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def patch(self, patch_id: str) -> Patch | None:
        return self._db.read(lambda connection: find_patch(connection, patch_id))

    def list_patches(self, *, state: str | None, target: str | None, limit: int, after: str | None) -> Page:
        query = select(patches)
        if state is not None:
            query = query.where(patches.c.state == state)
        if target is not None:
            query = query.where(patches.c.target == target)
        make = each(lambda row: as_record(Patch, row))
        keys = (patches.c.created_at, patches.c.patch_id)
        return self._db.read(
            lambda connection: fetch_page(connection, query, keys, make, limit=limit, after=after, newest_first=True)
        )

    def claim(self, patch_id: str, worker: str, lease: timedelta, at: datetime) -> Patch | None:
        lease_is_over = and_(patches.c.state == "building", or_(patches.c.lease_until < at, patches.c.worker == worker))
        free = or_(patches.c.state == "requested", lease_is_over)
        statement = (
            patches.update()
            .where(patches.c.patch_id == patch_id, free)
            .values(state="building", worker=worker, lease_until=at + lease, updated_at=at)
        )

        def work(connection: Connection) -> Patch | None:
            return find_patch(connection, patch_id) if connection.execute(statement).rowcount else None

        return self._db.write(work)

    def verified(
        self,
        patch_id: str,
        worker: str,
        *,
        blob: str,
        size: int,
        sha256: str,
        crc32: int,
        chunks: str,
        memory_bytes: int,
        bytes_read: int,
        seconds: float,
        at: datetime,
    ) -> bool:
        values = {
            "blob": blob,
            "bytes": size,
            "sha256": sha256,
            "crc32": crc32,
            "chunks": chunks,
            "memory_bytes": memory_bytes,
            "bytes_read": bytes_read,
            "seconds": seconds,
        }
        return self._finish(patch_id, worker, "verified", at, values)

    def failed(self, patch_id: str, worker: str, code: str, detail: str, at: datetime) -> bool:
        return self._finish(patch_id, worker, "failed", at, {"code": code, "detail": detail[:MAX_DETAIL]})

    def _finish(self, patch_id: str, worker: str, state: str, at: datetime, values: dict[str, Any]) -> bool:
        """A worker whose lease was taken over by another has lost its say."""
        PATCH.check("building", state)
        where = (patches.c.patch_id == patch_id, patches.c.state == "building", patches.c.worker == worker)
        statement = patches.update().where(*where).values(state=state, lease_until=None, updated_at=at, **values)
        return self._db.write(lambda connection: connection.execute(statement).rowcount > 0)


def find_patch(connection: Connection, patch_id: str) -> Patch | None:
    row = connection.execute(select(patches).where(patches.c.patch_id == patch_id)).mappings().first()
    return as_record(Patch, row) if row else None


def sources_key(sources: Sequence[str]) -> str:
    """Names an ordered list of image IDs in one short column, so that SQL can hold patches unique."""
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def request_patch(
    connection: Connection, target: str, sources: Sequence[str], profile: str, estimated_bytes: int, at: datetime
) -> Patch:
    """The one patch of these, requested now unless it was before."""
    same = and_(patches.c.target == target, patches.c.sources_key == sources_key(sources), patches.c.profile == profile)
    if (known := _first(connection, same)) is not None:
        return known
    values = {
        "patch_id": new_id("patch"),
        "target": target,
        "sources_key": sources_key(sources),
        "sources": list(sources),
        "profile": profile,
        "state": PATCH.initial,
        "estimated_bytes": estimated_bytes,
        "created_at": at,
        "updated_at": at,
    }
    try:
        with connection.begin_nested():
            connection.execute(patches.insert().values(**values))
    except IntegrityError:
        if (rival := _first(connection, same)) is not None:
            return rival
        raise
    return as_record(Patch, connection.execute(select(patches).where(same)).mappings().one())


def request_again(connection: Connection, patch_id: str, at: datetime) -> None:
    """A person retries: a patch that failed may be built once more; any other state stays."""
    PATCH.check("failed", "requested", "api")
    where = (patches.c.patch_id == patch_id, patches.c.state == "failed")
    connection.execute(
        patches.update().where(*where).values(state="requested", code=None, detail=None, worker=None, updated_at=at)
    )


def _first(connection: Connection, where: Any) -> Patch | None:
    row = connection.execute(select(patches).where(where)).mappings().first()
    return as_record(Patch, row) if row else None
