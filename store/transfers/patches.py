"""Patches: one row and one blob for each (target, sources, profile), built under a lease."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, not_, or_, select

from contracts.records import Page, Patch
from contracts.states import ORCHESTRATOR, PATCH, STARTED_SET, UNPUBLISHED
from contracts.work import pause_after
from services.store_port import WantedPatch
from store.kernel.engine import Database
from store.kernel.ledger import MAX_DETAIL, Ledger
from store.kernel.paging import each, fetch_page
from store.kernel.schema import patches, transfers
from store.kernel.tools import as_record, lock_devices
from store.sets.rows import wanted_by_a_member
from store.transfers import preparing
from store.transfers.lost_patches import lose_patch
from store.transfers.rows import fetch_transfers

_SOUND: dict[str, Any] = {"tries": 0, "code": None, "detail": None}
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=2), timedelta(hours=4)
"""Ten tries are spread over eight hours."""


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

    def prepare(self, wanted: Sequence[WantedPatch], at: datetime) -> int:
        return self._db.write(lambda connection: preparing.prepare(connection, wanted, at))

    def to_build(self, at: datetime, limit: int) -> tuple[str, ...]:
        def work(connection: Connection) -> tuple[str, ...]:
            building = select(patches.c.patch_id).where(patches.c.state == "building").limit(limit)
            found = list(connection.execute(building).scalars())
            if left := limit - len(found):
                found += connection.execute(_oldest_due("requested", at, left)).scalars()
            return tuple(found or connection.execute(preparing.next_one(at)).scalars())

        return self._db.read(work)

    def to_publish(self, at: datetime, limit: int) -> tuple[str, ...]:
        query = _oldest_due("verified", at, limit)
        return self._db.read(lambda connection: tuple(connection.execute(query).scalars()))

    def begin_step(self, patch_id: str, worker: str, lease: timedelta, at: datetime) -> Patch | None:
        free = or_(_due(at), _mine(worker), _left(at))
        values = {"state": "building", "worker": worker, "lease_until": at + lease, "updated_at": at}
        statement = (
            patches.update()
            .where(_this(patch_id), free, or_(_wanted(), preparing.may_go_on(at)))
            .values(**values, next_try_at=None, tries=patches.c.tries + 1)
        )

        def work(connection: Connection) -> Patch | None:
            return find_patch(connection, patch_id) if connection.execute(statement).rowcount else None

        return self._db.write(work)

    def keep(self, patch_id: str, worker: str, lease: timedelta, at: datetime) -> bool:
        wanted = or_(_wanted(), preparing.may_go_on(at))
        statement = patches.update().where(_this(patch_id), _mine(worker), wanted).values(lease_until=at + lease)
        return self._db.write(lambda connection: connection.execute(statement).rowcount > 0)

    def end_step(self, patch_id: str, worker: str, *, bytes_read: int, seconds: float, at: datetime) -> bool:
        return self._write(patch_id, worker, at, _SOUND | _added(bytes_read, seconds))

    def abandon(self, patch_id: str, worker: str, at: datetime) -> bool:
        values = {"state": "requested", "worker": None, "lease_until": None, "next_try_at": None, "tries": 0}
        mine = or_(_mine(worker), patches.c.state == "requested")
        statement = patches.update().where(_this(patch_id), mine, not_(_wanted())).values(**values, updated_at=at)

        def work(connection: Connection) -> bool:
            _hold(connection, patch_id)
            left = connection.execute(statement).rowcount > 0
            return left and not preparing.is_prepared(connection, patch_id)

        return self._db.write(work)

    def put_off(self, patch_id: str, worker: str, code: str, detail: str, max_tries: int, at: datetime) -> str | None:
        def work(connection: Connection) -> str | None:
            patch = find_patch(connection, patch_id)
            if patch is None or (patch.state, patch.worker) != ("building", worker):
                return None
            if not _is_ordered(connection, patch_id):
                return preparing.put_off(connection, patch, code, detail, max_tries, at)
            if patch.tries >= max_tries:
                return "failed" if _fail(connection, patch_id, worker, code, detail, at) else None
            PATCH.check("building", "requested", ORCHESTRATOR)
            values = {
                "state": "requested",
                "worker": None,
                "lease_until": None,
                "next_try_at": at + _pause(patch.tries),
                "code": code,
                "detail": detail[:MAX_DETAIL],
                "updated_at": at,
            }
            statement = patches.update().where(_this(patch_id), _mine(worker)).values(**values)
            return "requested" if connection.execute(statement).rowcount else None

        return self._db.write(work)

    def verified(
        self,
        patch_id: str,
        worker: str,
        *,
        size: int,
        sha256: str,
        crc32: int,
        chunks: str,
        memory_bytes: int,
        bytes_read: int,
        seconds: float,
        at: datetime,
    ) -> bool:
        PATCH.check("building", "verified", ORCHESTRATOR)
        values = {
            "state": "verified",
            "worker": None,
            "lease_until": None,
            "blob": sha256,
            "bytes": size,
            "sha256": sha256,
            "crc32": crc32,
            "chunks": chunks,
            "memory_bytes": memory_bytes,
            "next_try_at": at,  # to be published
            "prepare_at": None,
        }
        return self._write(patch_id, worker, at, values | _SOUND | _added(bytes_read, seconds))

    def lost(self, sha256: str, at: datetime) -> int:
        return self._db.write(lambda connection: lose_patch(connection, sha256, at))

    def failed(self, patch_id: str, worker: str, code: str, detail: str, at: datetime) -> bool:
        def work(connection: Connection) -> bool:
            patch = find_patch(connection, patch_id)
            if patch is None or (patch.state, patch.worker) != ("building", worker):
                return False
            if not _is_ordered(connection, patch_id):
                return preparing.give_up(connection, patch, code, detail, at)
            return _fail(connection, patch_id, worker, code, detail, at)

        return self._db.write(work)

    def _write(self, patch_id: str, worker: str, at: datetime, values: dict[str, Any]) -> bool:
        """A worker whose lease was taken over by another has lost its say."""
        statement = patches.update().where(_this(patch_id), _mine(worker)).values(**values, updated_at=at)
        return self._db.write(lambda connection: connection.execute(statement).rowcount > 0)


def _fail(connection: Connection, patch_id: str, worker: str, code: str, detail: str, at: datetime) -> bool:
    """The patch and what waits for it fail together: no transfer waits for a patch that will never be."""
    PATCH.check("building", "failed", ORCHESTRATOR)
    waiting = (transfers.c.patch_id == patch_id, transfers.c.state.in_(sorted(UNPUBLISHED)))
    lock_devices(connection, connection.execute(select(transfers.c.device_id).where(*waiting)).scalars().all())
    values = {"state": "failed", "lease_until": None, "code": code, "detail": detail[:MAX_DETAIL], "updated_at": at}
    if not connection.execute(patches.update().where(_this(patch_id), _mine(worker)).values(**values)).rowcount:
        return False
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        ledger.transfers(fetch_transfers(connection, *waiting), "failed", code=code, detail=detail)
    return True


def _hold(connection: Connection, patch_id: str) -> None:
    """Before it is asked who wants it: who comes to want it meanwhile waits, and makes it due again."""
    connection.execute(patches.update().where(_this(patch_id)).values(patch_id=patch_id))


def _is_ordered(connection: Connection, patch_id: str) -> bool:
    _hold(connection, patch_id)
    return connection.execute(select(patches.c.patch_id).where(_this(patch_id), _wanted())).first() is not None


def _this(patch_id: str) -> ColumnElement[bool]:
    return patches.c.patch_id == patch_id


def _mine(worker: str) -> ColumnElement[bool]:
    return and_(patches.c.state == "building", patches.c.worker == worker)


def _left(at: datetime) -> ColumnElement[bool]:
    """Its worker has not been heard of for as long as the lease."""
    return and_(patches.c.state == "building", patches.c.lease_until < at)


def _due(at: datetime) -> ColumnElement[bool]:
    return and_(patches.c.state == "requested", or_(patches.c.next_try_at.is_(None), patches.c.next_try_at <= at))


def _wanted() -> ColumnElement[bool]:
    """A transfer waits for it, and a started set for that."""
    waiting = transfers.alias()
    return exists().where(
        waiting.c.patch_id == patches.c.patch_id,
        waiting.c.state.in_(sorted(UNPUBLISHED)),
        wanted_by_a_member(waiting.c.transfer_id, of_sets=STARTED_SET),
    )


def _added(bytes_read: int, seconds: float) -> dict[str, Any]:
    """A build has many steps."""
    return {
        "bytes_read": func.coalesce(patches.c.bytes_read, 0) + bytes_read,
        "seconds": func.coalesce(patches.c.seconds, 0.0) + seconds,
    }


def _pause(tries: int) -> timedelta:
    """Most of what heals by itself has healed by the next try; after that it may take hours."""
    return pause_after(tries - 1, _FIRST_PAUSE, _LONGEST_PAUSE) if tries > 1 else timedelta(0)


def _oldest_due(state: str, at: datetime, limit: int) -> Select[Any]:
    these = (patches.c.state == state, patches.c.next_try_at <= at)
    return select(patches.c.patch_id).where(*these).order_by(patches.c.next_try_at).limit(limit)


def find_patch(connection: Connection, patch_id: str) -> Patch | None:
    row = connection.execute(select(patches).where(patches.c.patch_id == patch_id)).mappings().first()
    return as_record(Patch, row) if row else None


def request_again(connection: Connection, patch_id: str, at: datetime) -> None:
    """A person retries: a patch that failed may be built once more; any other state stays."""
    PATCH.check("failed", "requested", "api")
    fresh = {**_SOUND, "worker": None, "next_try_at": None}
    statement = patches.update().where(_this(patch_id), patches.c.state == "failed")
    connection.execute(statement.values(state="requested", **fresh, updated_at=at))


def _first(connection: Connection, where: Any) -> Patch | None:
    row = connection.execute(select(patches).where(where)).mappings().first()
    return as_record(Patch, row) if row else None
