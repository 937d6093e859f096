"""Runs one activity function, with the conversions that the Python worker makes; in the host or in a worker."""

from __future__ import annotations

import inspect
import json
import uuid
from typing import Any

from azure.functions import meta

from imagedelta_host.converters import converter_of
from imagedelta_host.durable.history import Event, EventType, compact, event
from imagedelta_host.invoke import Surroundings, arguments_of
from imagedelta_host.loader import AppFunction
from imagedelta_host.tracebacks import traceback_of


def decode_input(function: AppFunction, raw_input: str | None) -> Any:
    """The value of an activity's trigger; its input is JSON text."""
    converter = converter_of(function.kind)
    return converter.decode(meta.Datum(raw_input if raw_input is not None else "null", "json"), trigger_metadata={})


def _arguments(function: AppFunction, raw_input: str | None, around: Surroundings) -> dict[str, Any]:
    return arguments_of(function, decode_input(function, raw_input), str(uuid.uuid4()), around)


def encode_result(function: AppFunction, value: object) -> str | None:
    """What an activity returned, as compact JSON; ``None`` for ``None``."""
    if value is None:
        return None
    converter = converter_of(function.kind)
    return compact(json.loads(converter.encode(value, expected_type=None).value))


def run_activity(function: AppFunction, raw_input: str | None, around: Surroundings) -> str | None:
    """Run a plain ``def`` activity.

    Raises:
        Exception: Whatever the activity raised.
    """
    return encode_result(function, function.run(**_arguments(function, raw_input, around)))


async def run_async_activity(function: AppFunction, raw_input: str | None, around: Surroundings) -> str | None:
    """Run an ``async def`` activity."""
    result = function.run(**_arguments(function, raw_input, around))
    return encode_result(function, await result if inspect.isawaitable(result) else result)


def failure_of(error: BaseException) -> tuple[str, str]:
    """How a failed activity is described: (type and message, traceback)."""
    return f"{type(error).__name__}: {error}", traceback_of(error)


def completed(task: int, result: str | None) -> Event:
    """The event of an activity that returned."""
    return event(EventType.TASK_COMPLETED, TaskScheduledId=task, Result=result)


def failed(task: int, name: str, reason: str, details: str) -> Event:
    """The event of an activity that raised; worded like the real host."""
    text = f"Activity function '{name}' failed:  {reason}"
    return event(EventType.TASK_FAILED, TaskScheduledId=task, Reason=text, Details=details)
