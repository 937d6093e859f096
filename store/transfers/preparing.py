"""Patches that are built ahead of any order, while nothing that is ordered waits for a build.

Who orders one later finds it as any other patch: built, on its way, or still to be begun. What fails ahead of orders
fails nobody: it is tried again a few times, and then left for the order that wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, select

from contracts.records import Patch
from contracts.states import ORCHESTRATOR, PATCH
from services.store_port import WantedPatch
from store.kernel.ledger import MAX_DETAIL
from store.kernel.schema import patches
from store.kernel.tools import chunks
from store.transfers.patch_requests import request_patches

_PAUSE = timedelta(minutes=15)
"""After a try that failed: nobody waits."""


def prepare(connection: Connection, wanted: Sequence[WantedPatch], at: datetime) -> int:
    """Request these, and mark those that are not begun; how many are marked now."""
    marked = 0
    for part in chunks(found.patch_id for found in request_patches(connection, wanted, at).values()):
        idle = (patches.c.patch_id.in_(part), patches.c.state == "requested", patches.c.next_try_at.is_(None))
        marked += connection.execute(patches.update().where(*idle).values(prepare_at=at)).rowcount
    return marked


def next_one(at: datetime) -> Select[Any]:
    """The one that has waited longest."""
    due = (patches.c.prepare_at <= at, patches.c.state == "requested")
    return select(patches.c.patch_id).where(*due).order_by(patches.c.prepare_at).limit(1)


def may_go_on(at: datetime) -> ColumnElement[bool]:
    """It is prepared, and nothing is due that somebody has ordered."""
    other = patches.alias()
    ordered = exists().where(other.c.state == "requested", other.c.next_try_at <= at)
    return and_(patches.c.prepare_at.is_not(None), ~ordered)


def is_prepared(connection: Connection, patch_id: str) -> bool:
    marked = (patches.c.patch_id == patch_id, patches.c.prepare_at.is_not(None))
    return connection.execute(select(patches.c.patch_id).where(*marked)).first() is not None


def put_off(connection: Connection, patch: Patch, code: str, detail: str, max_tries: int, at: datetime) -> str | None:
    """A try of one that nobody ordered failed; returns its new state. The caller holds it."""
    if patch.tries >= max_tries:
        return "failed" if give_up(connection, patch, code, detail, at) else None
    return "requested" if _back(connection, patch, at, prepare_at=at + _PAUSE, code=code, detail=detail) else None


def give_up(connection: Connection, patch: Patch, code: str, detail: str, at: datetime) -> bool:
    """Leave one that nobody ordered for the order that comes to want it. The caller holds it."""
    return _back(connection, patch, at, prepare_at=None, tries=0, code=code, detail=detail)


def _back(connection: Connection, patch: Patch, at: datetime, detail: str, **values: Any) -> bool:
    PATCH.check("building", "requested", ORCHESTRATOR)
    mine = (patches.c.patch_id == patch.patch_id, patches.c.state == "building", patches.c.worker == patch.worker)
    values |= {"state": "requested", "worker": None, "lease_until": None, "next_try_at": None}
    statement = patches.update().where(*mine).values(**values, detail=detail[:MAX_DETAIL], updated_at=at)
    return connection.execute(statement).rowcount > 0
