"""Success and failure of transfers over time, from the history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select

from contracts.states import OUTCOMES
from imagedelta.errors import RequestError
from store.kernel.schema import history, transfer_hours

MAX_BUCKETS = 10_000
_LENGTHS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


def outcomes_over_time(
    connection: Connection, bucket: str, start: datetime, end: datetime
) -> tuple[Mapping[str, Any], ...]:
    """One entry for every bucket that overlaps [start, end), also the empty ones. Bytes are those of bundles that
    arrived then, whatever came of them.

    Grouped by hour in SQL, so that the rows read are as many as hours with an outcome. Both ends are rounded
    down and up to whole buckets; buckets begin at UTC midnight, weeks on Monday.

    Raises: RequestError for an unknown bucket or more than ``MAX_BUCKETS``.
    """
    found = _empty_buckets(bucket, start, end)
    query = (
        select(history.c.hour, history.c.new, func.count(), func.coalesce(func.sum(history.c.bytes), 0))
        .where(
            history.c.kind == "transfer",
            or_(history.c.new.in_(sorted(OUTCOMES)), history.c.bytes.is_not(None)),
            history.c.hour >= bucket_start(bucket, start),
            history.c.hour < end,
        )
        .group_by(history.c.hour, history.c.new)
    )
    for hour, new, count, moved in connection.execute(query):
        entry = found[bucket_start(bucket, hour)]
        if new in OUTCOMES:
            entry[new] += count
        entry["bytes"] += int(moved)
    _add_forgotten(connection, bucket, start, end, found)
    return tuple({"bucketStart": begin, **entry} for begin, entry in found.items())


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
