"""Patches that plans ask for: one row for each distinct (target, sources, profile), whoever asks first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from contracts.states import PATCH
from imagedelta.errors import DependencyError
from services.store_port import PlannedTransfer, WantedPatch
from store.kernel.schema import patches
from store.kernel.tools import new_id, rows_in

Wanting = PlannedTransfer | WantedPatch
PatchKey = tuple[str, str, str]
"""Target, key of the sources, profile: what is unique."""
_RIVALS = 3


@dataclass(frozen=True)
class RequestedPatch:
    patch_id: str
    state: str
    code: str | None
    detail: str | None


def sources_key(sources: Sequence[str]) -> str:
    """Names an ordered list of image IDs in one short column, so that SQL can hold patches unique."""
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def patch_key(item: Wanting) -> PatchKey:
    return item.image_id, sources_key(item.sources), item.profile


def request_patches(
    connection: Connection, items: Iterable[Wanting], at: datetime
) -> Mapping[PatchKey, RequestedPatch]:
    """The patches of these, requested now unless they were before.

    Raises: DependencyError when others were quicker again and again; the whole transaction is to be tried again.
    """
    wanted = {patch_key(item): item for item in items}
    for _ in range(_RIVALS):
        found = _find(connection, wanted)
        missing = [_row(key, item, at) for key, item in wanted.items() if key not in found]
        if not missing:
            return found
        try:
            with connection.begin_nested():
                connection.execute(patches.insert(), missing)
        except IntegrityError:
            continue
    found = _find(connection, wanted)
    if found.keys() != wanted.keys():
        raise DependencyError(f"patches were requested by others {_RIVALS} times meanwhile")
    return found


def _find(connection: Connection, wanted: Mapping[PatchKey, Wanting]) -> dict[PatchKey, RequestedPatch]:
    columns = (patches.c.target, patches.c.sources_key, patches.c.profile)
    query = select(*columns, patches.c.patch_id, patches.c.state, patches.c.code, patches.c.detail)
    query = query.where(patches.c.target.in_(sorted({target for target, _, _ in wanted})))
    rows = rows_in(connection, query, patches.c.sources_key, {sources for _, sources, _ in wanted})
    found = {}
    for row in rows:
        key = (row["target"], row["sources_key"], row["profile"])
        if key in wanted:
            found[key] = RequestedPatch(row["patch_id"], row["state"], row["code"], row["detail"])
    return found


def _row(key: PatchKey, item: Wanting, at: datetime) -> dict[str, Any]:
    target, sources, profile = key
    return {
        "patch_id": new_id("patch"),
        "target": target,
        "sources_key": sources,
        "sources": list(item.sources),
        "profile": profile,
        "state": PATCH.initial,
        "estimated_bytes": item.estimated_bytes,
        "created_at": at,
        "updated_at": at,
    }
