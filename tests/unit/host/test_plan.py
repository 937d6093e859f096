"""Plans: task ids, order of starting, determinism, and which messages make an episode."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from imagedelta_host.durable.episode import Message, StartActivity, StartTimer, apply_events, select, start_ready
from imagedelta_host.durable.history import EventType, event
from imagedelta_host.durable.plan import ActionUnsupported, NonDeterministicOrchestration, Plan

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def call(name: str) -> dict[str, Any]:
    return {"actionType": 0, "functionName": name, "input": "1"}


def retried(name: str, attempts: int = 3) -> dict[str, Any]:
    options = {"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": attempts}
    return {"actionType": 1, "functionName": name, "input": "1", "retryOptions": options}


def timer(cancelled: bool = False) -> dict[str, Any]:
    return {"actionType": 5, "fireAt": "2026-01-02T03:05:00.000000Z", "isCanceled": cancelled}


def wait(name: str) -> dict[str, Any]:
    return {"actionType": 6, "externalEventName": name, "reason": "ExternalEvent"}


def group(kind: str, *children: dict[str, Any]) -> dict[str, Any]:
    return {"actionType": 11 if kind == "any" else 12, "compoundActions": list(children)}


def planned(*actions: dict[str, Any]) -> Plan:
    plan = Plan()
    plan.extend(list(actions))
    return plan


def completed(task: int) -> Message:
    return Message(task, event(EventType.TASK_COMPLETED, TaskScheduledId=task, Result="1"))


def failed(task: int) -> Message:
    return Message(task, event(EventType.TASK_FAILED, TaskScheduledId=task, Reason="no", Details=""))


def fired(task: int) -> Message:
    return Message(task, event(EventType.TIMER_FIRED, TimerId=task, FireAt=""))


def tasks(plan: Plan) -> list[int | None]:
    return [leaf.task for leaf in plan.leaves]


def test_task_ids_are_given_depth_first_and_none_to_external_events() -> None:
    plan = planned(call("a"), group("all", call("b"), group("any", wait("go"), timer())), call("c"))

    assert tasks(plan) == [0, 1, None, 2, 3]


def test_a_plan_is_the_same_after_it_was_stored() -> None:
    plan = planned(group("all", retried("a"), timer()), wait("go"), wait("go"))
    start_ready(plan)
    plan.raised["go"] = 1

    again = Plan.from_json(plan.to_json())

    assert again == plan


def test_what_follows_an_incomplete_action_is_not_started() -> None:
    plan = planned(group("all", call("a"), call("b")), call("later"))

    effects, held_back = start_ready(plan)

    assert [effect.task for effect in effects] == [0, 1]
    assert held_back


def test_the_next_action_is_started_once_the_earlier_one_is_complete() -> None:
    plan = planned(group("any", call("a"), call("b")), call("later"))
    start_ready(plan)
    apply_events(plan, [completed(1).entry], NOW)

    effects, held_back = start_ready(plan)

    assert effects == [StartActivity(2, "later", "1")]
    assert held_back


def test_the_second_wait_for_an_event_needs_a_second_event() -> None:
    plan = planned(wait("go"), wait("go"))
    plan.raised["go"] = 1

    assert plan.is_complete(0)
    assert not plan.is_complete(1)


@pytest.mark.parametrize(
    ("replayed", "words"),
    [
        ([call("other"), timer()], "'a' with sequence ID 0, but the current replay scheduled an activity task 'other'"),
        ([timer(), call("a")], "but the current replay scheduled a timer"),
        ([call("a")], "a timer with sequence ID 1, but the current replay scheduled nothing there"),
        ([call("a"), group("all", timer())], "scheduled a task_all of 1 tasks"),
    ],
)
def test_a_replay_that_asks_for_something_else_is_noticed(replayed: list[dict[str, Any]], words: str) -> None:
    plan = planned(call("a"), timer())

    with pytest.raises(NonDeterministicOrchestration, match="Non-Deterministic workflow detected") as caught:
        plan.extend(replayed)

    assert words in str(caught.value)


def test_a_task_all_that_changes_its_size_is_noticed() -> None:
    plan = planned(group("all", call("a"), call("b")))

    with pytest.raises(NonDeterministicOrchestration, match="a task_all of 2 tasks"):
        plan.extend([group("all", call("a"))])


@pytest.mark.parametrize(("kind", "name"), [(7, "call_entity"), (8, "call_http"), (9, "signal_entity")])
def test_what_is_not_served_is_refused_by_name(kind: int, name: str) -> None:
    with pytest.raises(ActionUnsupported, match=name):
        planned({"actionType": kind})


def test_a_timer_cancelled_later_is_done_and_told() -> None:
    plan = planned(timer())
    start_ready(plan)

    cancelled = plan.extend([timer(cancelled=True)])

    assert [leaf.task for leaf in cancelled] == [0]
    assert plan.is_complete(0)


def test_a_failure_waits_for_its_timer_and_then_runs_again_under_new_ids() -> None:
    plan = planned(retried("a"))
    start_ready(plan)

    waiting = apply_events(plan, [failed(0).entry], NOW)
    again = apply_events(plan, [fired(1).entry], NOW)

    assert waiting == [StartTimer(1, NOW.replace(second=6))]
    assert again == [StartActivity(2, "a", "1")]
    assert not plan.is_complete(0)


def test_after_the_last_failure_one_more_timer_is_waited_for() -> None:
    plan = planned(retried("a", attempts=1))
    start_ready(plan)

    effects = apply_events(plan, [failed(0).entry], NOW)
    ended = apply_events(plan, [fired(1).entry], NOW)

    assert (effects, ended, plan.is_complete(0)) == ([StartTimer(1, NOW.replace(second=6))], [], True)


def test_failures_to_retry_share_an_episode_but_not_behind_an_event_that_resumes_user_code() -> None:
    plan = planned(group("all", retried("a"), retried("b"), call("c"), retried("d")))
    start_ready(plan)

    chosen = select(plan, [failed(0), failed(1), completed(2), failed(3)])

    assert [message.number for message in chosen.taken] == [0, 1, 2]
    assert chosen.more


def test_completions_nobody_waits_for_are_dropped() -> None:
    plan = planned(call("a"))
    start_ready(plan)

    chosen = select(plan, [completed(0), completed(0), completed(7)])

    assert [message.number for message in chosen.taken] == [0]
    assert [message.number for message in chosen.dropped] == [0, 7]


def test_only_an_awaited_task_all_is_worth_waiting_for_as_a_whole() -> None:
    whole = planned(call("a"), group("all", call("b"), call("c")))
    start_ready(whole)
    apply_events(whole, [completed(0).entry], NOW)
    nested = planned(group("all", call("a"), group("any", call("b"))))
    either = planned(group("any", call("a"), call("b")))

    assert whole.awaited_together() == {1, 2}
    assert nested.awaited_together() == frozenset()
    assert either.awaited_together() == frozenset()
