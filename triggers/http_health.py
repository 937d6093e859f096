"""GET /api/health: whether SQL and blobs answer, and whether the timer does its work. Anonymous, so it says which
and what to do, never why, and of the work only how old it is.

Work that is late does not make it 503: the app answers, and an instance that were taken out of service for it could
do no work at all. Whoever watches looks for ``"status":"ok"``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from contracts import work
from contracts.responses import Health, WorkHealth
from imagedelta import __version__
from imagedelta.errors import ImageDeltaError
from services.deps import Deps
from triggers.http import Answer, Request
from triggers.operations import Operation, Resource

log = logging.getLogger(__name__)

LATE_AFTER = timedelta(minutes=15)
"""Fifteen periods of the timer. What waits for a hub or a mail server that does not answer is not due meanwhile."""


def health(request: Request, deps: Deps) -> Answer:
    failures = {
        "database": _failure("database", deps.store.healthy),
        "blobs": _failure("blobs", lambda: deps.blobs.info("intake", "health")),
    }
    checks = {name: "ok" if failure is None else "unavailable" for name, failure in failures.items()}
    remedies = {name: failure.remedy for name, failure in failures.items() if isinstance(failure, ImageDeltaError)}
    well = all(state == "ok" for state in checks.values())
    answers = failures["database"] is None
    kinds = _work(deps) if answers else {}
    devices = deps.store.devices.unwell() if answers else None
    late = sorted(name for name, kind in kinds.items() if kind.late)
    if late:
        remedies["work"] = "Look at docs/runbooks/timer-is-late.md."
    status = ("late" if late else "ok") if well else "unavailable"
    told = {"checks": checks, "work": kinds, "devices": devices, "remedies": remedies}
    found = {"status": status, "version": __version__, **told}
    return Answer(200 if well else 503, Health.model_validate(found))


def _failure(name: str, probe: Callable[[], object]) -> Exception | None:
    try:
        probe()
    except Exception as error:
        log.exception("health: %s does not answer", name)
        return error
    return None


def _work(deps: Deps) -> Mapping[str, WorkHealth]:
    now = deps.now()
    beats, oldest = deps.store.attendance.heartbeats(), deps.store.attendance.oldest_due(now)
    return {kind: _kind(beats[kind].done_at if kind in beats else None, oldest.get(kind), now) for kind in work.KINDS}


def _kind(done_at: datetime | None, due_at: datetime | None, now: datetime) -> WorkHealth:
    """One that was never looked after is late once something of it is."""
    waits = due_at is not None and now - due_at > LATE_AFTER
    stands_still = done_at is not None and now - done_at > LATE_AFTER
    return WorkHealth(last_done_at=done_at, oldest_due_at=due_at, late=waits or stands_still)


RESOURCES = (
    Resource(
        name="api_health",
        path="health",
        anonymous=True,
        operations=(
            Operation(
                "GET",
                health,
                "Whether the database and the blob storage answer, and whether what is due is done.",
                {200: Health, 503: Health},
            ),
        ),
    ),
)
