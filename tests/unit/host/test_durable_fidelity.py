"""Where an engine may differ from the real extension unnoticed: names, limits, races of steering, status codes.

Status codes are those that Microsoft's own end-to-end tests of the extension expect (test/e2e/Tests: SuspendResume,
Purge, Terminate and Rewind tests).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from imagedelta_host.durable import activity
from imagedelta_host.durable.binding import WEBHOOK_PATH, ClientBinding
from imagedelta_host.durable.dispatch import ActivityDispatcher
from imagedelta_host.durable.engine import Engine
from imagedelta_host.durable.episode import Answer
from imagedelta_host.durable.history import TERMINAL, EventType, event
from imagedelta_host.durable.http_api import DurableHttpApi
from imagedelta_host.durable.store import DurableStore
from imagedelta_host.invoke import Surroundings
from imagedelta_host.loader import ACTIVITY, AppFunction
from imagedelta_host.workers import default_size
from tests.unit.host.engine_harness import Machine, activity_function, orchestrator

pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning")


def ok(payload: Any) -> Any:
    return payload


def eternal(context: Any) -> Any:
    runs = context.get_input() or 0
    yield context.call_activity("ok", runs)
    context.continue_as_new(runs + 1)


def waits(context: Any) -> Any:
    return (yield context.wait_for_external_event("go"))


def mixed_case(context: Any) -> Any:
    first = yield context.call_activity("OK", 1)
    second = yield context.call_sub_orchestrator("Child", 2)
    return [first, second]


def child(context: Any) -> Any:
    return (yield context.call_activity("Ok", context.get_input()))


def says(context: Any) -> Any:
    context.set_custom_status(context.get_input())
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=1))
    return "said"


def refuses_at_first(payload: Any) -> Any:
    if payload not in refused:
        refused.append(payload)
        raise ValueError(payload)
    return payload


refused: list[Any] = []


def stumbles(context: Any) -> Any:
    return (yield context.call_activity("refuses_at_first", context.instance_id))


FUNCTIONS = [
    activity_function(ok),
    activity_function(refuses_at_first),
    *map(orchestrator, (eternal, waits, mixed_case, child, says, stumbles)),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DurableStore]:
    opened = DurableStore(tmp_path / "durable.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def machine(store: DurableStore) -> Machine:
    return Machine(store, FUNCTIONS)


def during_the_last_episode_of_a_run(machine: Machine, kind: EventType) -> None:
    """Send an event to the run that is just about to continue as new."""
    original = machine._orchestrate
    sent: list[bool] = []

    async def orchestrate(name: str, context: str) -> Answer:
        answer = await original(name, context)
        if answer.done and not sent:
            sent.append(True)
            machine.engine.send(machine.row(), event(kind, Input="stop", Reason="stop"))
        return answer

    machine.engine._orchestrate = orchestrate


def test_a_termination_that_meets_continue_as_new_ends_the_next_run(machine: Machine) -> None:
    during_the_last_episode_of_a_run(machine, EventType.EXECUTION_TERMINATED)
    machine.start("eternal")

    row = asyncio.run(machine.finish())

    assert (row.status, row.output) == ("Terminated", '"stop"')


def test_a_suspension_that_meets_continue_as_new_holds_the_next_run(machine: Machine) -> None:
    during_the_last_episode_of_a_run(machine, EventType.SUSPENDED)
    machine.start("eternal")

    asyncio.run(machine.run_until(lambda: machine.row().status == "Suspended"))

    assert machine.row().suspended


def test_durable_names_ignore_case_and_are_shown_as_they_were_asked_for(machine: Machine) -> None:
    machine.start("MIXED_case")

    row = asyncio.run(machine.finish())

    assert (row.name, row.status, row.output) == ("MIXED_case", "Completed", "[1,2]")


@pytest.mark.parametrize(
    ("text", "status"), [("x" * 8190, "Completed"), ("ж" * 8190, "Completed"), ("x" * 8191, "Failed")]
)
def test_a_custom_status_over_16_kb_fails_the_orchestration(machine: Machine, text: str, status: str) -> None:
    machine.start("says", text)

    row = asyncio.run(machine.finish())

    assert row.status == status
    assert ("must not exceed 16 KB" in (row.output or "")) is (status == "Failed")


def test_an_activity_that_was_switched_off_while_it_waited_fails(store: DurableStore) -> None:
    first = Machine(store, FUNCTIONS)
    first.queue.put = lambda work: None  # type: ignore[method-assign]
    first.start("child", 1)
    asyncio.run(first.run_until(lambda: bool(store.pending_work())))

    second = Machine(store, FUNCTIONS)
    ActivityDispatcher(second.engine, {}, None, None, 4)  # type: ignore[arg-type]
    row = asyncio.run(second.finish())

    assert row.status == "Failed"
    assert "The function 'Ok' doesn't exist, is disabled, or is not an activity function." in (row.output or "")


def test_an_orchestrator_that_was_switched_off_while_it_waited_fails(store: DurableStore) -> None:
    first = Machine(store, FUNCTIONS)
    first.start("waits")
    asyncio.run(first.run_until(lambda: first.row().status == "Running"))

    second = Machine(store, [activity_function(ok)])
    second.engine.send(second.row(), event(EventType.EVENT_RAISED, Name="go", Input="1"))
    row = asyncio.run(second.finish())

    assert row.status == "Failed"
    assert "The function 'waits' doesn't exist, is disabled, or is not an orchestrator function." in (row.output or "")


def test_an_activity_already_running_is_not_started_again_when_the_engine_is(store: DurableStore) -> None:
    machine = Machine(store, FUNCTIONS)
    runs: list[str | None] = []

    class Workers:
        timeout = 1.0

        async def run(self, name: str, raw_input: str | None, *, alone: bool = False) -> str | None:
            runs.append(raw_input)
            await asyncio.sleep(0.01)
            return raw_input

    ActivityDispatcher(machine.engine, {"ok": activity_function(ok)}, Workers(), None, 4)  # type: ignore[arg-type]
    machine.start("child", 1)

    async def main() -> None:
        once = asyncio.create_task(machine.engine.run())
        while not runs:
            await asyncio.sleep(0)
        once.cancel()
        await machine.finish()

    asyncio.run(main())

    assert (machine.row().status, len(runs)) == ("Completed", 1)


# Bindings of activities


def an_activity(run: Callable[..., Any], clients: tuple[str, ...] = ()) -> AppFunction:
    return AppFunction("step", "step", ACTIVITY, run, {"name": "payload"}, clients=clients, wants_context=True)


def test_an_activity_gets_its_context_and_a_durable_client() -> None:
    def step(payload: str, starter: str, context: func.Context) -> list[str]:
        return [payload, starter, context.function_name, context.function_directory, str(bool(context.invocation_id))]

    async def step_async(payload: str, starter: str, context: func.Context) -> list[str]:
        return step(payload, starter, context)

    around = Surroundings(Path("/app"), lambda: "the client")
    told = ["in", "the client", "step", "/app", "True"]

    assert json.loads(activity.run_activity(an_activity(step, ("starter",)), '"in"', around) or "") == told
    run = activity.run_async_activity(an_activity(step_async, ("starter",)), '"in"', around)
    assert json.loads(asyncio.run(run) or "") == told


@pytest.mark.parametrize(("setting", "size"), [(None, 1), ("", 1), ("3", 3), (" 10 ", 10)])
def test_there_is_one_worker_process_unless_the_setting_says_more(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, size: int
) -> None:
    monkeypatch.delenv("FUNCTIONS_WORKER_PROCESS_COUNT", raising=False)
    if setting is not None:
        monkeypatch.setenv("FUNCTIONS_WORKER_PROCESS_COUNT", setting)

    assert default_size() == size


# The management interface

Ask = Callable[..., Awaitable[tuple[int, Any]]]


def talk(machine: Machine, body: Callable[[Ask, Engine], Awaitable[None]]) -> None:
    """Serve the durable interface over a running engine and let ``body`` ask it."""

    async def main() -> None:
        application = web.Application()
        binding = ClientBinding("http://host", "hub", "durable-key", "rpc-key")
        DurableHttpApi(machine.engine, lambda: binding, "master").add_routes(application.router)
        running = asyncio.create_task(machine.engine.run())
        async with TestClient(TestServer(application)) as client:

            async def ask(method: str, path: str, **options: Any) -> tuple[int, Any]:
                answer = await client.request(method, f"{WEBHOOK_PATH}/{path}", params={"code": "master"}, **options)
                text = await answer.text()
                return answer.status, json.loads(text) if text else None

            await body(ask, machine.engine)
        machine.engine.stop()
        await running

    asyncio.run(main())


async def becomes(machine: Machine, instance: str, *statuses: str) -> None:
    while machine.row(instance).status not in statuses:
        await asyncio.sleep(0.001)


def test_a_rewind_is_accepted_of_a_failed_instance_alone(machine: Machine) -> None:
    refused.clear()

    async def body(ask: Ask, engine: Engine) -> None:
        machine.start("stumbles", instance="run")
        await becomes(machine, "run", "Failed")
        accepted = await ask("POST", "instances/run/rewind?reason=mended")
        await becomes(machine, "run", *TERMINAL)
        again = await ask("POST", "instances/run/rewind?reason=mended")

        assert (accepted, again) == ((202, None), (410, None))
        assert (machine.row("run").status, machine.row("run").output) == ("Completed", '"run"')

    talk(machine, body)


def test_a_rewind_that_cannot_be_is_refused_with_what_to_do(machine: Machine) -> None:
    refused.clear()

    async def body(ask: Ask, engine: Engine) -> None:
        machine.start("stumbles", instance="run")
        await becomes(machine, "run", "Failed")
        with machine.store.transaction():
            machine.store.update_instance("run", plan="")

        status, answer = await ask("POST", "instances/run/rewind?reason=mended")

        assert (status, "restart it" in answer["ExceptionMessage"]) == (409, True)
        assert machine.row("run").status == "Failed"

    talk(machine, body)


def test_what_does_not_fit_the_state_of_an_instance_is_answered_as_by_the_real_host(machine: Machine) -> None:
    async def body(ask: Ask, engine: Engine) -> None:
        machine.start("waits", instance="run")
        await becomes(machine, "run", "Running")
        resumed = await ask("POST", "instances/run/resume?reason=x")
        rewound = await ask("POST", "instances/run/rewind?reason=x")
        purged = await ask("DELETE", "instances/run")
        assert (await ask("POST", "instances/run/suspend?reason=x"))[0] == 202
        await becomes(machine, "run", "Suspended")
        suspended = await ask("POST", "instances/run/suspend?reason=x")
        purged_suspended = await ask("DELETE", "instances/run")
        assert (await ask("POST", "instances/run/resume?reason=x"))[0] == 202
        await becomes(machine, "run", "Running")
        assert (await ask("POST", "instances/run/terminate?reason=x"))[0] == 202
        await becomes(machine, "run", *TERMINAL)

        for status, answer in (resumed, rewound, purged, suspended, purged_suspended):
            assert status == 500
            assert answer["Message"] == "Something went wrong while processing your request"
        assert suspended[1]["ExceptionMessage"] == (
            "Cannot suspend the orchestration instance run because instance is in the Suspended state."
        )
        for operation in ("suspend", "resume", "terminate", "rewind"):
            assert (await ask("POST", f"instances/run/{operation}?reason=x"))[0] == 410
            assert (await ask("POST", f"instances/nobody/{operation}?reason=x"))[0] == 404
        assert await ask("DELETE", "instances/run") == (200, {"instancesDeleted": 1})
        assert (await ask("DELETE", "instances/run"))[0] == 404

    talk(machine, body)
