"""Attending: kinds in turns, oldest first, within a time; what fails waits on its own row and holds up nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import import_module
from threading import Barrier, Thread
from typing import Any

import pytest

from activities.attend import attend
from activities.due_work import Run, Silence, Subject
from contracts.requests import EnrolDevice
from imagedelta.errors import DependencyError
from services.deps import Deps
from tests.simulators.calls import Crash
from tests.unit.activities.bench import MODULE, Bench

HUB_RUNTIME = {"$edgeAgent": {"properties.desired": {"modules": {}}}}


def enrolled(bench: Bench, *device_ids: str, known: bool = True) -> None:
    """Devices whose twins are to be written; ``known`` to their hub."""
    for device_id in device_ids:
        if known:
            bench.hub.add_device(device_id, HUB_RUNTIME, MODULE)
        bench.store.devices.enrol(device_id, EnrolDevice(hub="north"), "operator", bench.now())


def have_outbox(bench: Bench, *device_ids: str) -> list[bool]:
    devices = [bench.store.devices.device(device_id) for device_id in device_ids]
    return [device is not None and device.outbox_renew_after is not None for device in devices]


@pytest.fixture(params=[1, 8], ids=["alone", "8 threads"])
def bench(bench: Bench, request: pytest.FixtureRequest) -> Bench:
    bench.with_deps(settings=replace(bench.deps.settings, attend_threads=request.param))
    return bench


def test_with_nothing_due_it_is_one_question_and_a_heartbeat(bench: Bench) -> None:
    assert attend(bench.deps, {"seconds": 10}) == {"done": {}, "more": False}

    beats = bench.store.attendance.heartbeats()
    assert {kind: beat.done_at for kind, beat in beats.items()} == dict.fromkeys(
        ("settle", "notify", "release", "confirm", "sync", "tidy", "read_hubs", "silence"), bench.now()
    )


def test_all_that_is_due_is_done_however_many_turns_it_takes(bench: Bench) -> None:
    ids = [f"ship-{number:03}" for number in range(57)]
    enrolled(bench, *ids)

    answer = attend(bench.deps, {"seconds": 60})

    assert answer == {"done": {"sync": 57}, "more": False}
    assert all(have_outbox(bench, *ids))


def test_when_the_time_is_over_the_rest_is_left_for_the_next(bench: Bench) -> None:
    ids = [f"ship-{number:03}" for number in range(30)]
    enrolled(bench, *ids)

    assert attend(bench.deps, {"seconds": 0}) == {"done": {}, "more": True}
    assert attend(bench.deps, {"seconds": 60})["done"] == {"sync": 30}


def test_devices_that_never_appear_in_their_hub_keep_no_others_waiting(bench: Bench) -> None:
    enrolled(bench, *[f"ghost-{number:03}" for number in range(100)], known=False)
    enrolled(bench, "ship-1")

    attend(bench.deps, {"seconds": 60})
    tried = bench.hub.calls.count["update_desired"]
    attend(bench.deps, {"seconds": 60})

    assert have_outbox(bench, "ship-1", "ghost-000") == [True, False]
    assert (tried, bench.hub.calls.count["update_desired"]) == (101, 101), "each waits for its next try"


def test_a_hub_that_is_silent_three_times_in_a_row_is_left_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled(bench, *[f"ship-{number:03}" for number in range(200)])
    calls: list[str] = []

    def down(device_id: str, *given: Any) -> Any:
        calls.append(device_id)
        raise DependencyError("no answer", code="dependency.hub")

    monkeypatch.setattr(bench.hub, "update_desired", down)
    attend(bench.deps, {"seconds": 60})
    while_down = len(calls)
    monkeypatch.undo()
    bench.now.forward(minutes=5)
    attend(bench.deps, {"seconds": 60})

    assert 3 <= while_down <= 20, "of 200"
    assert all(have_outbox(bench, *[f"ship-{number:03}" for number in range(200)]))


def test_a_service_that_answers_between_two_failures_is_not_silent() -> None:
    silence = Silence()
    silence.unheard("hub")
    silence.unheard("hub")
    silence.heard("hub")

    assert [silence.unheard("hub") for _ in range(3)] == [False, False, True]


def test_what_nobody_foresaw_holds_up_no_other_and_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled(bench, "ship-1", "ship-2", "ship-3")
    facts = type(bench.store.devices).desired_facts

    def broken(self: Any, device_id: str) -> Any:
        return 1 // 0 if device_id == "ship-2" else facts(self, device_id)

    monkeypatch.setattr(type(bench.store.devices), "desired_facts", broken)
    answer = attend(bench.deps, {"seconds": 60})

    assert answer == {"done": {"sync": 3}, "more": False}
    assert have_outbox(bench, "ship-1", "ship-2", "ship-3") == [True, False, True]
    beat = bench.store.attendance.heartbeats()["sync"]
    assert (beat.failed_at, beat.code) == (bench.now(), "internal")


def test_what_cannot_even_be_put_off_is_tried_once_in_an_attendance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck:
        name, is_remote = "sync", False

        def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[str]:
            return ["one"]

        def do(self, run: Run, item: str) -> None:
            tries.append(item)
            raise ValueError("a defect")

        def put_off(self, deps: Deps, item: str, until: datetime) -> None:
            """It stays due."""

        def subject(self, item: str) -> Subject:
            return Subject()

    tries: list[str] = []
    enrolled(bench, "ship-1")
    monkeypatch.setattr(import_module("activities.attend"), "KINDS", (Stuck(),))

    assert attend(bench.deps, {"seconds": 60})["more"] is False
    assert tries == ["one"]


def test_two_who_attend_at_once_write_each_twin_once(bench: Bench) -> None:
    ids = [f"ship-{number:03}" for number in range(60)]
    enrolled(bench, *ids)
    start, done = Barrier(2), []

    def one() -> None:
        start.wait()
        done.append(attend(bench.deps, {"seconds": 60}))

    threads = [Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bench.hub.calls.count["update_desired"] == 60
    assert all(have_outbox(bench, *ids))
    assert [answer["more"] for answer in done] == [False, False]


@pytest.mark.parametrize("after", [False, True])
def test_a_worker_that_dies_leaves_what_it_had_begun_to_the_next(bench: Bench, after: bool) -> None:
    enrolled(bench, "ship-1", "ship-2")
    bench.hub.calls.fail("update_desired", after=after, error=Crash())
    with pytest.raises(Crash):
        attend(bench.deps, {"seconds": 60})

    bench.now.forward(seconds=bench.deps.settings.claim_lease.total_seconds())
    attend(bench.deps, {"seconds": 60})

    assert have_outbox(bench, "ship-1", "ship-2") == [True, True]


def test_a_clock_that_jumps_back_loses_nothing(bench: Bench) -> None:
    enrolled(bench, "ship-1")
    bench.now.forward(days=-2)
    attend(bench.deps, {"seconds": 60})
    early = have_outbox(bench, "ship-1")
    bench.now.forward(days=2)

    attend(bench.deps, {"seconds": 60})

    assert (early, have_outbox(bench, "ship-1")) == ([False], [True])


def test_a_tick_with_nothing_due_costs_the_same_however_many_devices_there_are(bench: Bench) -> None:
    def cost() -> float:
        start = time.process_time()
        for _ in range(10):
            attend(bench.deps, {"seconds": 60})
        return time.process_time() - start

    enrolled(bench, *[f"few-{number:03}" for number in range(10)])
    attend(bench.deps, {"seconds": 60})
    few = cost()
    enrolled(bench, *[f"many-{number:03}" for number in range(300)])
    attend(bench.deps, {"seconds": 60})

    assert cost() < 2 * few + 0.05
    assert timedelta(0) < timedelta(seconds=few) < timedelta(seconds=1)
