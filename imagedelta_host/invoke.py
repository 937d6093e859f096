"""Runs one function of the app with the arguments its bindings ask for, and logs the invocation."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import azure.functions as func

from imagedelta_host.loader import AppFunction
from imagedelta_host.user_loop import UserLoop

log = logging.getLogger("imagedelta_host.invocations")


@dataclass
class RetryContext:
    """What a function learns about the retries of its invocation."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: BaseException | None = None


@dataclass
class TraceContext:
    """Trace headers of the request, as the worker passes them."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    Traceparent = property(lambda self: self.trace_parent)
    Tracestate = property(lambda self: self.trace_state)


@dataclass
class InvocationContext:
    """The value of a parameter called ``context``: the fields of azure.functions.Context."""

    invocation_id: str
    function_name: str
    function_directory: str
    trace_context: TraceContext = field(default_factory=TraceContext)
    retry_context: RetryContext = field(default_factory=RetryContext)
    thread_local_storage: threading.local = field(default_factory=threading.local)


class OutValue(func.Out[Any]):
    """The value of an output parameter: what the function sets."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        """Take what the function answers."""
        self._value = val

    def get(self) -> Any:
        """What was set last; ``None`` when nothing was."""
        return self._value


@dataclass(frozen=True)
class Surroundings:
    """What a function may ask for beside its trigger's value.

    Attributes:
        app_dir: Told to functions that take a context.
        client_value: The value of a durable client binding, as JSON text.
        retry: Told to functions that take a context.
        trace: Trace headers of the request, for functions that take a context.
    """

    app_dir: Path
    client_value: Callable[[], str]
    retry: RetryContext = field(default_factory=RetryContext)
    trace: TraceContext = field(default_factory=TraceContext)


def arguments_of(function: AppFunction, value: object, invocation: str, around: Surroundings) -> dict[str, Any]:
    """The keyword arguments for one invocation: trigger, durable clients, context."""
    arguments: dict[str, Any] = {function.parameter: value}
    for name in function.clients:
        arguments[name] = around.client_value()
    if function.wants_context:
        directory = str(around.app_dir)
        context = InvocationContext(invocation, function.name, directory, around.trace, around.retry)
        arguments["context"] = context
    return arguments


class Invoker:
    """Calls functions of the app."""

    def __init__(self, app_dir: Path, user_loop: UserLoop, client_value: Callable[[], str]) -> None:
        """Args:
        app_dir: Told to functions that take a context.
        user_loop: Where the functions run.
        client_value: The value of a durable client binding, as JSON text.
        """
        self._app_dir = app_dir
        self._user_loop = user_loop
        self._client_value = client_value

    async def call(
        self,
        function: AppFunction,
        value: object,
        retry: RetryContext | None = None,
        trace: TraceContext | None = None,
        outputs: Mapping[str, OutValue] | None = None,
    ) -> Any:
        """Run a function with its trigger's value; what it sets in ``outputs`` is there afterwards.

        Raises:
            Exception: Whatever the function raised, or that it returned what no binding takes; it is logged here.
        """
        invocation, began = str(uuid.uuid4()), time.monotonic()
        place = Surroundings(self._app_dir, self._client_value, retry or RetryContext(), trace or TraceContext())
        arguments = {**arguments_of(function, value, invocation, place), **(outputs or {})}
        try:
            result = await self._run(function, arguments)
            _check_return(function, result)
        except Exception as error:
            milliseconds = (time.monotonic() - began) * 1000
            log.error("Function %s failed after %.0f ms (%s)", function.name, milliseconds, invocation, exc_info=error)
            raise
        log.info("Function %s succeeded in %.0f ms (%s)", function.name, (time.monotonic() - began) * 1000, invocation)
        return result

    async def _run(self, function: AppFunction, arguments: dict[str, Any]) -> Any:
        if function.is_async:
            return await self._user_loop.run_async(function.run(**arguments))
        return await self._user_loop.run_sync(lambda: function.run(**arguments))


def _check_return(function: AppFunction, result: object) -> None:
    """As the worker does, in its words."""
    if result is not None and not function.returns:
        raise RuntimeError(f"function {function.name!r} without a $return binding returned a non-None value")
