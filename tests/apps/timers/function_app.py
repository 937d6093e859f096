"""Timers: one that was missed, one that runs at start, one that fails and is retried; and a blueprint."""

from __future__ import annotations

import json
import os
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()
blueprint = func.Blueprint()


def note(kind: str, **what: object) -> None:
    with Path(os.environ["LOG"]).open("a") as stream:
        stream.write(json.dumps({"kind": kind, **what}) + "\n")


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
def nightly(timer: func.TimerRequest) -> None:
    note("nightly", past_due=timer.past_due, last=timer.schedule_status.get("Last"))


@app.timer_trigger(arg_name="timer", schedule="0 0 4 * * *", run_on_startup=True)
def at_start(timer: func.TimerRequest) -> None:
    note("at_start", past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 5 * * *", run_on_startup=True)
@app.retry(
    strategy="exponential_backoff", max_retry_count="3", minimum_interval="00:00:00", maximum_interval="00:00:01"
)
def stubborn(timer: func.TimerRequest, context: func.Context) -> None:
    note("stubborn", retry=context.retry_context.retry_count, most=context.retry_context.max_retry_count)
    if context.retry_context.retry_count < 2:
        raise RuntimeError("not yet")


@blueprint.route(route="from/blueprint", auth_level=func.AuthLevel.ANONYMOUS)
def from_blueprint(req: func.HttpRequest) -> str:
    return "blue"


app.register_functions(blueprint)
