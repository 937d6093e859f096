"""The trace of a set begins with its order over HTTP, and refusals are counted by their code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.watching.telemetry import trace_id
from tests.unit.fleet.test_telemetry import Watcher
from tests.unit.triggers.test_http_sets import ORDER, hub, world  # noqa: F401 - fixtures
from tests.unit.triggers.world import World

CALLER = "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"
ORDERED = "/api/deployment-sets"


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.telemetry.close()


def order(world: World, traceparent: str | None, **change: object) -> str | None:  # noqa: F811
    headers = {"traceparent": traceparent} if traceparent else {}
    reply = world.call("POST", ORDERED, {**ORDER, **change}, headers=headers)
    assert reply.status == 202, reply.body
    made = world.deps.store.sets.deployment_set(reply.body["setId"])
    assert made is not None
    return made.trace


def test_an_order_goes_on_with_the_trace_of_its_caller(world: World, watcher: Watcher) -> None:  # noqa: F811
    world.deps = replace(world.deps, telemetry=watcher.telemetry)

    kept = order(world, CALLER)

    [span] = watcher.spans
    assert span.name == "POST deployment-sets"
    assert kept == f"00-{'a1' * 16}-{span.context.span_id:016x}-01"
    assert watcher.under(CALLER) == [span.name]


@pytest.mark.parametrize(
    "garbage", [None, "garbage", CALLER + "; DROP TABLE", "00-" + "0" * 32 + "-" + "b2" * 8 + "-01"]
)
def test_an_order_without_a_trace_begins_one(world: World, watcher: Watcher, garbage: str | None) -> None:  # noqa: F811
    world.deps = replace(world.deps, telemetry=watcher.telemetry)

    kept = order(world, garbage)

    [span] = watcher.spans
    assert span.parent is None
    assert trace_id(kept) == f"{span.context.trace_id:032x}"


def test_unwatched_the_trace_of_the_caller_is_kept_for_whoever_watches_later(world: World) -> None:  # noqa: F811
    assert order(world, CALLER) == CALLER
    assert order(world, None) is None


def test_a_refusal_is_counted_by_its_code_and_reading_is_no_span(world: World, watcher: Watcher) -> None:  # noqa: F811
    world.deps = replace(world.deps, telemetry=watcher.telemetry)

    refused = world.call("POST", ORDERED, {**ORDER, "devices": {"ids": ["nobody"]}})
    world.call("GET", ORDERED)

    assert refused.status == 422
    assert watcher.figures()["imagedelta.http.refusals"] == {("POST deployment-sets", "request.unknown_device"): 1}
    [span] = watcher.spans
    assert (span.attributes or {})["error.type"] == "request.unknown_device"
