"""Publishing bundles: the transfers that a verified patch can be sent to, the numbers of their bundles, and the mark.

A batch costs two short transactions, one before and one after its blobs are written, whatever its size. The name of
a bundle is fixed with its number, so that whoever publishes it again writes the same blob.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, bindparam, func, select

from contracts.outbox import SHARED, bundle_name, priority_digit
from contracts.records import Publication, Transfer
from contracts.states import BUNDLE_WANTED, ORCHESTRATOR, STARTED_SET, UNPUBLISHED
from imagedelta.errors import DependencyError
from services.store_port import BundleResult
from store.kernel.due import twin_changed
from store.kernel.engine import Database
from store.kernel.ledger import Ledger
from store.kernel.schema import bundles, devices, images, patches, transfers
from store.kernel.tools import as_record, lock_devices
from store.sets.rows import wanted_by_a_member
from store.transfers.rows import fetch_transfers, transfer_query, transfer_record

LEASE = timedelta(minutes=5)
"""After so long without an end, SQL has its publishing started again."""
MAX_SHARED = 32
"""Shared patches that a twin opens at once, those of the bundles that are fetched first: desired properties hold
32 KiB. The next ones follow as transfers end."""


class SqlPublications:
    """Implements services.store_port.Publications."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def claim(self, patch_id: str, after: str, limit: int, *, shared: bool, at: datetime) -> tuple[Publication, ...]:
        return self._db.write(lambda connection: _claim(connection, patch_id, after, limit, shared, at))

    def finish(self, patch_id: str, results: Sequence[BundleResult], at: datetime, *, last: bool) -> int:
        def work(mark: Callable[[Connection, Sequence[BundleResult], datetime], int]) -> int:
            def transaction(connection: Connection) -> int:
                published = mark(connection, results, at) if results else 0
                if last:
                    _rest(connection, patch_id, at)
                return published

            return self._db.write(transaction)

        if all(result.code is None for result in results):
            with suppress(DependencyError):  # one of them has moved meanwhile: then each is looked at
                return work(_publish_all)
        return work(_finish)


def shared_patches(connection: Connection, device_id: str) -> list[str]:
    """sha256 of the patches that shared bundles on their way to the device refer to."""
    query = (
        select(patches.c.sha256)
        .join(transfers, transfers.c.patch_id == patches.c.patch_id)
        .join(bundles, _of_this_attempt())
        .where(
            bundles.c.device_id == device_id,
            bundles.c.revoked_at.is_(None),
            bundles.c.blob.endswith(SHARED),
            transfers.c.state.in_(sorted(BUNDLE_WANTED)),
        )
        .order_by(bundles.c.blob)
        .limit(MAX_SHARED)
    )
    return sorted(set(connection.execute(query).scalars()))


# ---------------------------------------------------------------- before the blobs are written


def _claim(
    connection: Connection, patch_id: str, after: str, limit: int, shared: bool, at: datetime
) -> tuple[Publication, ...]:
    if not after:
        verified = (patches.c.patch_id == patch_id, patches.c.state == "verified")
        connection.execute(patches.update().where(*verified).values(next_try_at=at + LEASE))
    rows = connection.execute(_waiting(patch_id, after, limit)).mappings().all()
    new = [row for row in rows if row["state"] == "queued"]
    names_shared = {row["transfer_id"] for row in new if shared and "shared" in row["bundle_forms"]}
    numbers = _next_numbers(connection, new, names_shared, at)
    numbered = {
        row["transfer_id"]: _numbered(row, numbers[row["device_id"]], row["transfer_id"] in names_shared) for row in new
    }
    _record(connection, tuple(numbered.values()), at)
    transfers_of = (numbered.get(row["transfer_id"]) or transfer_record(row) for row in rows)
    return tuple(
        as_record(Publication, row, transfer=replace(transfer, state="building"))
        for row, transfer in zip(rows, transfers_of, strict=True)
    )


def _waiting(patch_id: str, after: str, limit: int) -> Select[Any]:
    """In the order of their ids, so that a batch goes on behind the last one, whatever became of that."""
    columns = [patches.c[name].label(f"patch_{name}") for name in _OF_PATCH]
    return (
        transfer_query()
        .add_columns(
            *columns, images.c.platform, devices.c.hub_device_id, devices.c.trusted_keys, devices.c.bundle_forms
        )
        .add_columns(devices.c.last_number, _lowest_wanted())
        .join(devices, devices.c.device_id == transfers.c.device_id)
        .join(images, images.c.image_id == transfers.c.image_id)
        .where(transfers.c.patch_id == patch_id, transfers.c.transfer_id > after, *_can_be_published())
        .order_by(transfers.c.transfer_id)
        .limit(limit)
    )


_OF_PATCH = ("sha256", "bytes", "crc32", "chunks", "memory_bytes", "sources")


def _can_be_published() -> tuple[ColumnElement[bool], ...]:
    return (
        patches.c.state == "verified",
        devices.c.state == "active",
        transfers.c.state.in_(sorted(UNPUBLISHED)),
        wanted_by_a_member(transfers.c.transfer_id, of_sets=STARTED_SET),
    )


def _lowest_wanted() -> Any:
    """The lowest number among bundles still wanted on the device: its floor. None when there is none."""
    others, its_bundles = transfers.alias(), bundles.alias()
    this_attempt = and_(others.c.transfer_id == its_bundles.c.transfer_id, others.c.attempt == its_bundles.c.attempt)
    return (
        select(func.min(its_bundles.c.number))
        .select_from(its_bundles.join(others, this_attempt))
        .where(
            its_bundles.c.device_id == transfers.c.device_id,
            its_bundles.c.revoked_at.is_(None),
            others.c.state.in_(sorted(BUNDLE_WANTED)),
        )
        .correlate(transfers)
        .scalar_subquery()
        .label("lowest_wanted")
    )


def _next_numbers(
    connection: Connection, rows: Sequence[RowMapping], names_shared: Collection[str], at: datetime
) -> dict[str, int]:
    """The next number of each device, which is held from here on. A shared bundle needs a grant in the twin."""
    numbers: dict[str, int] = {}
    for with_grant, twin in ((False, {}), (True, twin_changed(at))):
        device_ids = [row["device_id"] for row in rows if (row["transfer_id"] in names_shared) == with_grant]
        if device_ids:
            statement = (
                devices.update()
                .where(devices.c.device_id.in_(sorted(device_ids)))
                .values(last_number=devices.c.last_number + 1, **twin)
                .returning(devices.c.device_id, devices.c.last_number)
            )
            numbers |= {row.device_id: row.last_number for row in connection.execute(statement)}
    return numbers


def _numbered(row: RowMapping, number: int, shared: bool) -> Transfer:
    """With the floor as it was read, before the device was held: what is wanted since has a higher number."""
    floor = min(row["lowest_wanted"] or row["last_number"] + 1, number)
    transfer = transfer_record(row)
    digit = priority_digit(transfer.priority)
    name = bundle_name(digit, number, transfer.transfer_id, transfer.attempt, shared=shared)
    return replace(transfer, number=number, floor=floor, bundle=name)


def _record(connection: Connection, numbered: Sequence[Transfer], at: datetime) -> None:
    if not numbered:
        return
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        ledger.transfers(numbered, "building")
    connection.execute(
        bundles.insert(),
        [
            {
                "transfer_id": transfer.transfer_id,
                "attempt": transfer.attempt,
                "device_id": transfer.device_id,
                "number": transfer.number,
                "lowest": transfer.floor,
                "blob": transfer.bundle,
                "estimated_bytes": transfer.estimated_bytes or 0,
            }
            for transfer in numbered
        ],
    )


# ---------------------------------------------------------------- after the blobs are written


def _publish_all(connection: Connection, results: Sequence[BundleResult], at: datetime) -> int:
    """Mark them when nothing else has happened to any of them.

    Raises: DependencyError when something has; then nothing changed.
    """
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        ledger.transfers([result.transfer for result in results], "published")
    _mark(connection, results, at)
    return len(results)


def _finish(connection: Connection, results: Sequence[BundleResult], at: datetime) -> int:
    """Mark what lies in its outbox, and fail what never will; returns how many were published by this.

    A device may have reported already, and a person may have cancelled: such transfers stay as they are, and a
    bundle that nobody wants any more is taken away with the next look at the twin.
    """
    by_id = {result.transfer.transfer_id: result for result in results}
    lock_devices(connection, (result.transfer.device_id for result in results))
    _mark(connection, [result for result in results if result.code is None], at)
    now = {each.transfer_id: each for each in fetch_transfers(connection, transfers.c.transfer_id.in_(sorted(by_id)))}
    mine = {key: now[key] for key, result in by_id.items() if now[key].attempt == result.transfer.attempt}
    building = {key: transfer for key, transfer in mine.items() if transfer.state == "building"}
    published = [transfer for key, transfer in building.items() if by_id[key].code is None]
    with Ledger(connection, ORCHESTRATOR, at) as ledger:
        ledger.transfers(published, "published")
        for key, transfer in building.items():
            if (code := by_id[key].code) is not None:
                ledger.transfer(transfer, "failed", code=code, detail=by_id[key].detail)
        in_vain = [key for key in by_id if key not in mine or mine[key].state not in BUNDLE_WANTED]
        ledger.twins_changed(by_id[key].transfer.device_id for key in in_vain)
    return len(published)


def _rest(connection: Connection, patch_id: str, at: datetime) -> None:
    """Unless somebody has come to need it meanwhile: then it is due since then, and not at the end of a lease."""
    taken = (patches.c.patch_id == patch_id, patches.c.state == "verified", patches.c.next_try_at > at)
    connection.execute(patches.update().where(*taken).values(next_try_at=None))


def _mark(connection: Connection, placed: Sequence[BundleResult], at: datetime) -> None:
    this = (bundles.c.transfer_id == bindparam("of_transfer"), bundles.c.attempt == bindparam("of_attempt"))
    statement = (
        bundles.update()
        .where(*this, bundles.c.published_at.is_(None))
        .values(bytes=bindparam("its_bytes"), published_at=at)
    )
    if placed:
        connection.execute(
            statement,
            [
                {
                    "of_transfer": result.transfer.transfer_id,
                    "of_attempt": result.transfer.attempt,
                    "its_bytes": result.bytes,
                }
                for result in placed
            ],
        )


def _of_this_attempt() -> ColumnElement[bool]:
    return and_(bundles.c.transfer_id == transfers.c.transfer_id, bundles.c.attempt == transfers.c.attempt)
