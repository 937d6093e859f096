"""The timer of retention: rows and blobs that were kept long enough, and the history of workflows that have ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import azure.functions as func
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from services.deps import Deps

log = logging.getLogger(__name__)

SECONDS = 120
"""Of one run; what is left waits for the next."""
WORKFLOWS = timedelta(days=30)
"""After they were started: long enough to look at what went wrong, and to rewind it."""
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
_ENDED = [Status.Completed, Status.Failed, Status.Terminated]

Step = Callable[[dict[str, Any]], dict[str, Any]]


class Purger(Protocol):
    """The part of the durable client that is used."""

    async def purge_instance_history_by(
        self, created_time_from: Any = None, created_time_to: Any = None, runtime_status: Any = None
    ) -> Any: ...


def serve_retention(purge: Step, deps: Callable[[], Deps]) -> Callable[..., Any]:
    async def run(timer: func.TimerRequest, client: Purger) -> None:
        done = await asyncio.to_thread(purge, {"seconds": SECONDS})
        if not done["ok"] or done["value"]["more"]:
            log.info("retention is not through: %s", done.get("detail", "there is more"))
        await client.purge_instance_history_by(_BEGINNING, deps().now() - WORKFLOWS, _ENDED)

    return run
