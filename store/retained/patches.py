"""Patches that no transfer has used for long: their blob is taken away, then their row.

A patch is taken apart under a lease, as it was built: nobody builds it meanwhile, so that no blob is deleted that
somebody has just found there. Who asks for it in the meantime has it built anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from contracts.states import ACTIVE_TRANSFER, PATCH, TIMER, TRANSFER
from store.kernel.engine import Database
from store.kernel.schema import patches, transfers

PATCHES = timedelta(days=90)
"""After the last use."""
LEASE = timedelta(minutes=10)
_WORKER = "retention"


class SqlOldPatches:
    """Implements services.store_port.OldPatches."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def take(self, at: datetime) -> tuple[str, str | None] | None:
        return self._db.write(lambda connection: _take(connection, at))

    def forget(self, patch_id: str, at: datetime) -> None:
        self._db.write(lambda connection: _forget(connection, patch_id, at))


def _take(connection: Connection, at: datetime) -> tuple[str, str | None] | None:
    PATCH.check("verified", "building", TIMER)
    left = and_(patches.c.state == "building", patches.c.worker == _WORKER, patches.c.lease_until < at)
    unused = and_(
        patches.c.state == "verified",
        patches.c.updated_at < at - PATCHES,
        ~_used_since(at - PATCHES),
        ~_same_is_built(),
    )
    query = select(patches.c.patch_id, patches.c.blob).where(or_(left, unused)).order_by(patches.c.created_at).limit(1)
    found = connection.execute(query).first()
    if found is None:
        return None
    patch_id, blob = found
    taken = {"state": "building", "worker": _WORKER, "lease_until": at + LEASE, "next_try_at": None}
    still = (patches.c.patch_id == patch_id, or_(left, unused))
    if not connection.execute(patches.update().where(*still).values(**taken)).rowcount:
        return None
    others = select(patches.c.patch_id).where(patches.c.blob == blob, patches.c.patch_id != patch_id)
    return patch_id, None if connection.execute(others.limit(1)).first() else blob


def _used_since(cutoff: datetime) -> ColumnElement[bool]:
    return exists().where(
        transfers.c.patch_id == patches.c.patch_id,
        or_(transfers.c.state.in_(sorted(ACTIVE_TRANSFER)), transfers.c.updated_at >= cutoff),
    )


def _same_is_built() -> ColumnElement[bool]:
    """Another patch of its target is being built: that may come to the same bytes, and so to the same blob."""
    other = patches.alias()
    this = (other.c.target == patches.c.target, other.c.patch_id != patches.c.patch_id, other.c.state == "building")
    return exists().where(*this)


def _forget(connection: Connection, patch_id: str, at: datetime) -> None:
    """Its row goes too, unless somebody asked for it meanwhile: then it is built anew."""
    ended = (transfers.c.patch_id == patch_id, transfers.c.state.in_(sorted(TRANSFER.terminal)))
    connection.execute(transfers.update().where(*ended).values(patch_id=None))
    mine = (patches.c.patch_id == patch_id, patches.c.state == "building", patches.c.worker == _WORKER)
    unused = ~exists().where(transfers.c.patch_id == patches.c.patch_id)
    if not connection.execute(patches.delete().where(*mine, unused)).rowcount:
        PATCH.check("building", "requested", TIMER)
        anew = {"state": "requested", "worker": None, "lease_until": None, "blob": None, "next_try_at": at}
        connection.execute(patches.update().where(*mine).values(**anew))
