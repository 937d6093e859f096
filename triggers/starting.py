"""Starting orchestrations: at most one of an instance id at a time, however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from imagedelta.errors import DependencyError
from triggers.http import Start

LIVE = frozenset({"Running", "Pending", "Suspended", "ContinuedAsNew"})


class Starter(Protocol):
    """The part of the durable client that is used."""

    async def get_status(self, instance_id: str) -> Any: ...
    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str: ...


async def start_all(client: Starter, starts: Iterable[Start]) -> None:
    """Start what is not running.

    Raises: DependencyError when Durable did not take one of them; the others were started.
    """
    distinct = {start.instance: start for start in starts}
    refusals = [refusal for start in distinct.values() if (refusal := await _refusal(client, start))]
    if refusals:
        raise DependencyError("; ".join(refusals))


async def is_live(client: Starter, instance: str) -> bool:
    status = await client.get_status(instance)
    runtime_status = getattr(status, "runtime_status", None)
    return getattr(runtime_status, "value", runtime_status) in LIVE


async def _refusal(client: Starter, start: Start) -> str | None:
    """Start it; why it could not be started, or None. The SDK raises plain Exception for every refusal."""
    try:
        if not await is_live(client, start.instance):
            await client.start_new(start.orchestrator, start.instance, dict(start.payload))
    except Exception as error:
        # a start that lost a race to another one finds the instance running: that is what was wanted
        return None if await _runs_now(client, start.instance) else f"{start.instance} was not started: {error}"
    return None


async def _runs_now(client: Starter, instance: str) -> bool:
    try:
        return await is_live(client, instance)
    except Exception:
        return False
