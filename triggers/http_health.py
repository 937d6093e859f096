"""GET /api/health: whether SQL and blobs answer. Anonymous, so it says which and what to do, never why."""

from __future__ import annotations

import logging
from collections.abc import Callable

from contracts.responses import Health
from imagedelta import __version__
from imagedelta.errors import ImageDeltaError
from services.deps import Deps
from triggers.http import Answer, Request
from triggers.operations import Operation, Resource

log = logging.getLogger(__name__)


def health(request: Request, deps: Deps) -> Answer:
    failures = {
        "database": _failure("database", deps.store.healthy),
        "blobs": _failure("blobs", lambda: deps.blobs.info("intake", "health")),
    }
    checks = {name: "ok" if failure is None else "unavailable" for name, failure in failures.items()}
    remedies = {name: failure.remedy for name, failure in failures.items() if isinstance(failure, ImageDeltaError)}
    well = all(state == "ok" for state in checks.values())
    found = {"status": "ok" if well else "unavailable", "version": __version__, "checks": checks, "remedies": remedies}
    return Answer(200 if well else 503, Health.model_validate(found))


def _failure(name: str, probe: Callable[[], object]) -> Exception | None:
    try:
        probe()
    except Exception as error:
        log.exception("health: %s does not answer", name)
        return error
    return None


RESOURCES = (
    Resource(
        name="api_health",
        path="health",
        anonymous=True,
        operations=(
            Operation("GET", health, "Whether the database and the blob storage answer.", {200: Health, 503: Health}),
        ),
    ),
)
