"""A verified patch whose blob is not there any more: it is built anew, and what hung on it begins another attempt.

A rule of the storage's lifecycle or a person may have taken it. What is built anew may have other bytes, by another
version of this program: so a bundle that was numbered and is not whole in its outbox gets another name, and a shared
bundle, which names the bytes it refers to, is withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, or_, select

from contracts.outbox import SHARED
from contracts.states import PATCH, TIMER
from store.kernel.ledger import Ledger
from store.kernel.schema import bundles, patches, transfers
from store.kernel.tools import lock_devices
from store.transfers.account_rows import accounts_by_id, write_accounts

_FETCHING = ("published", "receiving", "blocked")
_WHY = "its patch was gone from the storage"


def lose_patch(connection: Connection, sha256: str, at: datetime) -> int:
    """How many patches were verified with these bytes; they are requested now, due at once."""
    PATCH.check("verified", "requested", TIMER)
    these = (patches.c.sha256 == sha256, patches.c.state == "verified")
    lost = connection.execute(select(patches.c.patch_id).where(*these)).scalars().all()
    hanging = connection.execute(_hanging_on(lost)).all() if lost else []
    lock_devices(connection, {row.device_id for row in hanging})
    anew = {"state": "requested", "worker": None, "lease_until": None, "blob": None, "tries": 0, "next_try_at": at}
    ours = (patches.c.patch_id.in_(lost), *these)
    if not lost or not connection.execute(patches.update().where(*ours).values(**anew, updated_at=at)).rowcount:
        return 0
    still = connection.execute(_hanging_on(lost)).all()
    accounts = accounts_by_id(connection, [row.transfer_id for row in still])
    with Ledger(connection, TIMER, at) as ledger:
        for account in accounts.values():
            account.lose(at, _WHY)
        write_accounts(connection, ledger, accounts.values())
    return len(lost)


def _hanging_on(patch_ids: Sequence[str]) -> Select[Any]:
    """Transfers with a bundle that is no good without just these bytes."""
    of_this_attempt = (bundles.c.transfer_id == transfers.c.transfer_id) & (bundles.c.attempt == transfers.c.attempt)
    shared = bundles.c.blob.endswith(SHARED) & transfers.c.state.in_(_FETCHING)
    return (
        select(transfers.c.transfer_id, transfers.c.device_id)
        .join(bundles, of_this_attempt)
        .where(transfers.c.patch_id.in_(patch_ids), or_(transfers.c.state == "building", shared))
    )
