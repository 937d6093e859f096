"""Work is watched: a span under the order it is done for, the ids on its log lines, and how things stand now.

Nothing is asked of SQL for it where nobody looks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from services.deps import Deps
from services.watching.metrics import DEVICES, DEVICES_SILENT, DUE_AGE, NOTIFICATIONS_DEAD, TRANSFERS
from services.watching.telemetry import Span


@contextmanager
def working_on(
    deps: Deps, name: str, sets: Collection[str] = (), *, patch_id: str | None = None, **ids: str | None
) -> Iterator[Span]:
    """Work for these sets, or for those that wait for the patch: under the first one's order, linked to the others'."""
    traces = _traces(deps, sets, patch_id) if deps.telemetry.watched else ()
    with deps.telemetry.span(
        name, parent=traces[0] if traces else None, links=traces[1:], patch_id=patch_id, **ids
    ) as span:
        yield span


def tell_how_things_stand(deps: Deps) -> None:
    """The gauges, by whoever attends: one at a time, so that nothing is told twice."""
    if not deps.telemetry.watched:
        return
    at, stand = deps.now(), deps.telemetry.stand
    stand(DUE_AGE, {kind: _seconds(since, at) for kind, since in deps.store.attendance.oldest_due(at).items()})
    census = deps.store.census.take(at)
    stand(TRANSFERS, census.transfers)
    stand(DEVICES, census.devices)
    stand(NOTIFICATIONS_DEAD, census.dead_notifications)
    stand(DEVICES_SILENT, {"": census.silent_devices})


def _traces(deps: Deps, sets: Collection[str], patch_id: str | None) -> Sequence[str]:
    if patch_id is not None:
        return deps.store.traces.of_patch(patch_id)
    return tuple(deps.store.traces.of_sets(sets).values()) if sets else ()


def _seconds(since: datetime, at: datetime) -> float:
    return max((at - since).total_seconds(), 0.0)
