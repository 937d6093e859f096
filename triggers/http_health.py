"""GET /api/health: whether SQL and blobs answer. Anonymous, so it says which, never why."""

from __future__ import annotations

import logging
from collections.abc import Callable

from contracts.responses import Health
from imagedelta import __version__
from services.deps import Deps
from triggers.http import Answer, Request
from triggers.operations import Operation, Resource

log = logging.getLogger(__name__)


def health(request: Request, deps: Deps) -> Answer:
    checks = {
        "database": _check("database", deps.store.healthy),
        "blobs": _check("blobs", lambda: deps.blobs.info("intake", "health")),
    }
    well = all(state == "ok" for state in checks.values())
    body = Health.model_validate({"status": "ok" if well else "unavailable", "version": __version__, "checks": checks})
    return Answer(200 if well else 503, body)


def _check(name: str, probe: Callable[[], object]) -> str:
    try:
        probe()
    except Exception:
        log.exception("health: %s does not answer", name)
        return "unavailable"
    return "ok"


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
