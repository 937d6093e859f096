"""How often a step is repeated before its orchestration gives up; SQL then has the timer start it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from azure.durable_functions import RetryOptions

_FIRST_PAUSE_MILLISECONDS = 2_000
_ATTEMPTS = 5


class Context(Protocol):
    """What workflows use of azure.durable_functions.DurableOrchestrationContext."""

    @property
    def instance_id(self) -> str: ...
    def get_input(self) -> Any: ...
    def call_activity(self, name: str, input_: Any = None) -> Any: ...
    def call_activity_with_retry(self, name: str, retry_options: RetryOptions, input_: Any = None) -> Any: ...
    def call_sub_orchestrator(self, name: str, input_: Any = None) -> Any: ...
    def task_all(self, activities: list[Any]) -> Any: ...


def call(context: Context, step: str, payload: Mapping[str, Any]) -> Any:
    """A task for one step, retried."""
    return context.call_activity_with_retry(step, RetryOptions(_FIRST_PAUSE_MILLISECONDS, _ATTEMPTS), dict(payload))


def call_all(context: Context, step: str, payloads: Iterable[Mapping[str, Any]]) -> Any:
    """One task for a step on each payload; it fails only after all have ended."""
    return context.task_all([call(context, step, payload) for payload in payloads])
