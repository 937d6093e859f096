"""Success and failure of transfers over time, from the history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select

from contracts.states import OUTCOMES
from imagedelta.errors import RequestError
from store.kernel.schema import history, member_transfers, sets, transfer_hours, transfers
from store.sets.links import own_attempt

MAX_BUCKETS = 10_000
_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


def outcomes_over_time(
    connection: Connection,
    bucket: str,
    start: datetime,
    end: datetime,
    *,
    set_id: str | None = None,
    device_id: str | None = None,
    workstream: str | None = None,
) -> tuple[Mapping[str, Any], ...]:
    """One entry for every bucket that overlaps [start, end), also the empty ones. Bytes are those of bundles that
    arrived then, whatever came of them.

    Of a set, a device or a workstream alone only as far back as lines are kept: what is older is a sum of all.

    Grouped by hour in SQL, so that the rows read are as many as hours with an outcome. Both ends are rounded
    down and up to whole buckets; buckets begin at UTC midnight, weeks on Monday.

    Raises: RequestError for an unknown bucket or more than ``MAX_BUCKETS``.
    """
    found = _empty_buckets(bucket, start, end)
    query = (
        select(history.c.hour, history.c.new, func.count(), func.coalesce(func.sum(history.c.bytes), 0))
        .where(
            or_(history.c.new.in_(sorted(OUTCOMES)), history.c.bytes.is_not(None)),
            history.c.hour >= bucket_start(bucket, start),
            history.c.hour < end,
        )
        .group_by(history.c.hour, history.c.new)
    )
    query = _only(query, set_id, device_id, workstream)
    for hour, new, count, moved in connection.execute(query):
        entry = found[bucket_start(bucket, hour)]
        if new in OUTCOMES:
            entry[new] += count
        entry["bytes"] += int(moved)
    if not (set_id or device_id or workstream):
        _add_forgotten(connection, bucket, start, end, found)
    return tuple({"bucketStart": begin, **entry} for begin, entry in found.items())


def _only(query: Select[Any], set_id: str | None, device_id: str | None, workstream: str | None) -> Select[Any]:
    """What is of a set or a device is found by their transfers, so that no hour of the fleet is gone through; the rest
    by its hours. A set counts what was made for it."""
    if set_id is None and device_id is None:
        query = query.where(history.c.kind == "transfer")  # the index of hours begins with it
    if set_id is not None:
        its = select(member_transfers.c.transfer_id).where(member_transfers.c.set_id == set_id)
        query = query.where(history.c.transfer_id.in_(its), _made_for(member_transfers.c.set_id == set_id))
    if device_id is not None:
        its = select(transfers.c.transfer_id).where(transfers.c.device_id == device_id)
        query = query.where(history.c.transfer_id.in_(its))
    if workstream is not None:
        in_it = exists().where(sets.c.set_id == member_transfers.c.set_id, sets.c.workstream == workstream)
        query = query.where(_made_for(in_it))
    return query


def _made_for(which: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(
        member_transfers.c.transfer_id == history.c.transfer_id, own_attempt(history.c.attempt), which
    )


def _add_forgotten(
    connection: Connection, bucket: str, start: datetime, end: datetime, found: Mapping[datetime, dict[str, int]]
) -> None:
    """Hours whose lines are no longer kept (store.retained.lines)."""
    query = select(transfer_hours).where(
        transfer_hours.c.hour >= bucket_start(bucket, start), transfer_hours.c.hour < end
    )
    for row in connection.execute(query).mappings():
        entry = found[bucket_start(bucket, row["hour"])]
        for name in entry:
            entry[name] += int(row[name])


def bucket_start(bucket: str, at: datetime) -> datetime:
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return at
    midnight = at.replace(hour=0)
    return midnight if bucket == "day" else midnight - timedelta(days=midnight.weekday())


def _empty_buckets(bucket: str, start: datetime, end: datetime) -> dict[datetime, dict[str, int]]:
    if bucket not in _LENGTHS:
        raise RequestError(f"bucket: {bucket!r} is not hour, day or week")
    if (end - start) / _LENGTHS[bucket] > MAX_BUCKETS:
        raise RequestError(f"from, to: more than {MAX_BUCKETS} buckets: choose a larger bucket or a shorter time")
    found, begin = {}, bucket_start(bucket, start)
    while begin < end:
        found[begin] = {"succeeded": 0, "failed": 0, "bytes": 0}
        begin += _LENGTHS[bucket]
    return found
