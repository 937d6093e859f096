"""Calls an orchestrator function of the app for one episode and reads what it answers."""

from __future__ import annotations

import json
from typing import Any

from azure.functions._durable_functions import OrchestrationContext

from imagedelta_host.durable.episode import Answer
from imagedelta_host.loader import AppFunction
from imagedelta_host.tracebacks import traceback_of

_STATE_MARK = "\n\n$OutOfProcData$:"


def run_orchestrator(function: AppFunction, context: str) -> Answer:
    """Run one episode; ``context`` is the trigger's value as JSON text. Never raises."""
    try:
        answer = function.run(**{function.parameter: OrchestrationContext(context)})
        return _answer(json.loads(answer))
    except BaseException as error:  # an exit or a cancellation of user code, too, ends this instance and nothing else
        text = str(error) if isinstance(error, Exception) else f"{type(error).__name__}: {error}"
        return _failure(text, traceback_of(error.__cause__ or error))


def _answer(state: dict[str, Any]) -> Answer:
    actions = state.get("actions") or [[]]
    return Answer(
        actions=[action for group in actions for action in group],
        done=bool(state.get("isDone")),
        output=state.get("output"),
        error=state.get("error"),
        custom_status=state.get("customStatus"),
    )


def _failure(text: str, details: str) -> Answer:
    """The SDK raises when user code does, with its state behind a mark in the message."""
    message, mark, state = text.rpartition(_STATE_MARK)
    if not mark:
        return Answer(error=text or "the orchestrator raised an exception without a message", details=details)
    answer = _answer(json.loads(state))
    answer.error = answer.error or message
    answer.details = details
    return answer
