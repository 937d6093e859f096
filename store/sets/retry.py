"""A person tries failed members again: as many at once as there are, in a few statements."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection

from contracts.records import DeploymentSet, Transfer
from contracts.states import ACTIVE_TRANSFER, API, OPEN_SET, RETRIED_SET
from imagedelta.errors import RequestError
from store.kernel.ledger import UNPLANNED, Ledger
from store.kernel.schema import member_transfers, transfers
from store.kernel.tools import chunks
from store.sets.links import close_links, relink, reopen_links
from store.transfers.patches import request_again
from store.transfers.rows import fetch_transfers, linked_transfers


def retry_failed(connection: Connection, of: DeploymentSet, device_ids: Collection[str], by: str, at: datetime) -> None:
    """These members have failed; the caller holds their devices and the set.

    Raises: RequestError ``request.state`` when the set has ended in a way from which nothing is retried.
    """
    if of.state not in OPEN_SET | RETRIED_SET:
        raise RequestError(f"set {of.set_id} is {of.state}", code="request.state", status=409)
    with Ledger(connection, API, at, by) as ledger:
        if of.state in RETRIED_SET:
            ledger.set(of.set_id, of.state, "preparing")
        ledger.members(of.set_id, device_ids, "failed", "planned")
        for part in chunks(device_ids):
            reopen_links(connection, of.set_id, part)
            _retry_transfers(ledger, of.set_id, part)


def _retry_transfers(ledger: Ledger, set_id: str, device_ids: Sequence[str]) -> None:
    """What failed starts anew; where another set has started it already, it is joined."""
    failed = [transfer for _set, _device, transfer in linked_transfers(ledger.connection, *_failed(set_id, device_ids))]
    for patch_id in sorted({transfer.patch_id for transfer in failed if transfer.patch_id}):
        request_again(ledger.connection, patch_id, ledger.at)
    active = _active(ledger.connection, device_ids, failed)
    for transfer in failed:
        if (other := active.get(_place(transfer))) is not None:
            relink(ledger.connection, transfer, other)
    _requeue(ledger, [transfer for transfer in failed if _place(transfer) not in active])


def _requeue(ledger: Ledger, failed: Sequence[Transfer]) -> None:
    """Without a plan, and with sources that were refused before: they may have come back."""
    close_links(ledger.connection, failed)
    for attempt, alike in _by_attempt(failed):
        anew: dict[str, Any] = {
            "attempt": attempt + 1,
            "sequence": 0,
            **UNPLANNED,
            "local_digest": None,
            "refused_sources": [],
        }
        ledger.transfers(alike, "queued", **anew)


def _by_attempt(found: Sequence[Transfer]) -> Iterator[tuple[int, list[Transfer]]]:
    ordered = sorted(found, key=lambda transfer: transfer.attempt)
    return ((attempt, list(alike)) for attempt, alike in groupby(ordered, key=lambda transfer: transfer.attempt))


def _failed(set_id: str, device_ids: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    links = member_transfers.c
    return links.set_id == set_id, links.device_id.in_(device_ids), transfers.c.state == "failed"


def _active(
    connection: Connection, device_ids: Sequence[str], failed: Sequence[Transfer]
) -> Mapping[tuple[str, str], Transfer]:
    images = sorted({transfer.image_id for transfer in failed})
    found = fetch_transfers(
        connection,
        transfers.c.device_id.in_(device_ids),
        transfers.c.image_id.in_(images),
        transfers.c.state.in_(sorted(ACTIVE_TRANSFER)),
    )
    return {_place(transfer): transfer for transfer in found}


def _place(transfer: Transfer) -> tuple[str, str]:
    return transfer.device_id, transfer.image_id
