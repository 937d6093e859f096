"""Three parts, three threads: what hangs or fails holds up nothing else, and the module ends within seconds."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edge_module.apply_part import ApplyPart
from edge_module.device import Device
from edge_module.parts import Guard
from edge_module.troubles import Troubles
from imagedelta.errors import DependencyError
from tests.unit.edge.world import APP_1, APP_2, OTHER, Clock, World, make_bundle, noise

PATIENCE = 20.0


def a_ship(world: World | None = None) -> World:
    """With clocks that run by themselves."""
    world = world or World(APP_1)
    world.clock = time.monotonic  # type: ignore[assignment]
    world.settings = replace(world.settings, stable_seconds=0.1, poll_seconds=0.1)
    return world


@contextmanager
def running(device: Device) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=device.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def hang() -> Iterator[Callable[..., None]]:
    """A call that does not come back while the test runs; threads that wait in it end before the next test begins."""
    before = set(threading.enumerate())
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait()

    yield hang
    over.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread.name


def succeeded(world: World, transfer_id: str = "transfer-1") -> bool:
    return "succeeded" in world.states(transfer_id)


def test_a_bundle_of_the_outbox_becomes_an_image_while_each_part_has_its_thread() -> None:
    world = a_ship()
    world.publish(make_bundle())

    with running(world.boot()):
        wait_for(lambda: succeeded(world))

    assert world.references()["app:2"] == APP_2.image_id
    assert world.states() == ["receiving", "received", "applying", "succeeded"]


def test_until_idle_ends_by_itself_when_everything_is_done_and_told() -> None:
    world = a_ship()
    world.publish(make_bundle())

    world.boot().run(threading.Event(), until_idle=True)

    assert world.final_report() == ("succeeded", None)
    assert world.hub.inventories[-1].results[-1].state == "succeeded"
    assert world.leftovers() == []


def test_an_outbox_that_hangs_holds_up_neither_what_came_another_way_nor_its_report(
    monkeypatch: pytest.MonkeyPatch, hang: Callable[..., None]
) -> None:
    world = a_ship()
    monkeypatch.setattr(world.outbox, "handle_request", hang)
    world.drop_into_inbox(make_bundle())

    with running(world.boot()):
        wait_for(lambda: succeeded(world))


def test_a_hub_that_hangs_holds_up_neither_the_download_nor_the_image(
    monkeypatch: pytest.MonkeyPatch, hang: Callable[..., None]
) -> None:
    world = World(APP_1)
    world.run()  # the twin is on the disk
    a_ship(world)
    world.publish(make_bundle())
    for call in ("desired", "send", "report_properties"):
        monkeypatch.setattr(world.hub, call, hang)

    with running(world.boot()):
        wait_for(lambda: APP_2.image_id in {image.image_id for image in world.engine().images()})


def test_an_image_that_is_made_for_hours_holds_up_neither_downloads_nor_reports(hang: Callable[..., None]) -> None:
    world = a_ship()
    world.publish(make_bundle())
    world.rebuild_with(hang)
    device = world.boot()

    with running(device):
        wait_for(lambda: world.states() == ["receiving", "received"])
        world.publish(
            make_bundle(
                patch=noise(50_000, 8),
                bundle_id="b2",
                transfer_id="transfer-2",
                number=8,
                target_image_id=OTHER.image_id,
            )
        )
        wait_for(lambda: "received" in world.states("transfer-2"))


@pytest.mark.parametrize("hanging", ["handle_request", "desired", "rebuild"])
def test_the_module_ends_within_seconds_whatever_hangs(
    hanging: str, monkeypatch: pytest.MonkeyPatch, hang: Callable[..., None]
) -> None:
    world = a_ship()
    world.publish(make_bundle())
    begun = threading.Event()

    def hang_audibly(*_: object) -> None:
        begun.set()
        hang()

    if hanging == "rebuild":
        world.rebuild_with(hang_audibly)
    else:
        place = world.outbox if hanging == "handle_request" else world.hub
        monkeypatch.setattr(place, hanging, hang_audibly)
    with running(world.boot()) as stop:
        assert begun.wait(PATIENCE)
        started = time.monotonic()
        stop.set()
    assert time.monotonic() - started < 8


def test_a_rebuild_is_stopped_when_the_module_ends() -> None:
    world = a_ship()
    world.drop_into_inbox(make_bundle())
    stopped = threading.Event()

    def until_stopped(*_: object) -> None:
        assert stopped.wait(PATIENCE)
        raise DependencyError("stopped", code="rebuild.stopped")

    rebuilds = world.rebuild_with(until_stopped, stopped.set)
    with running(world.boot()) as stop:
        wait_for(lambda: rebuilds.begun)
        started = time.monotonic()
        stop.set()

    assert time.monotonic() - started < 4
    assert world.states() == [], "whoever stopped it needs no report"


def test_a_disk_that_cannot_be_read_for_a_while_ends_no_part() -> None:
    world = a_ship()
    device = world.boot()
    with running(device):
        wait_for(lambda: world.hub.inventories)
        world.disk.fail_reading_at(1, count=math.inf)
        time.sleep(2.5)
        world.disk.heal()
        world.publish(make_bundle())
        wait_for(lambda: succeeded(world))


def test_a_step_that_fails_past_every_guard_does_not_end_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_ship()
    failures = iter([ZeroDivisionError("boom")] * 3)
    step = ApplyPart.step

    def failing(part: ApplyPart) -> float:
        for error in failures:
            raise error
        return step(part)

    monkeypatch.setattr(ApplyPart, "step", failing)
    world.drop_into_inbox(make_bundle())
    with running(world.boot()):
        wait_for(lambda: succeeded(world))


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.tries = 0

    def __call__(self) -> float:
        self.tries += 1
        if self.error is not None:
            raise self.error
        return 0.0


@pytest.mark.parametrize(
    ("error", "code"), [(DependencyError("x", code="disk.full"), "disk.full"), (ZeroDivisionError("x"), "internal")]
)
def test_work_that_fails_again_and_again_does_not_spin_and_says_so(error: Exception, code: str) -> None:
    clock = Clock()
    troubles = Troubles(lambda: 86_400.0)
    guard, work = Guard("link", troubles, clock), Failing(error)

    for _ in range(10_000):
        assert guard.step(work) > 0
        clock.now += 0.5

    assert work.tries < 50
    told = troubles.told()
    assert [(each["what"], each["code"], each["since"]) for each in told] == [("link", code, "1970-01-02T00:00:00Z")]
    work.error = None
    clock.now += 400
    assert guard.step(work) == 0.0
    assert troubles.told() == []
