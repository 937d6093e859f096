"""A rate and hours of the day: of the settings or, outweighing them, of the twin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from contracts.link_hours import parse_hours, seconds_until_open
from contracts.messages import DesiredProperties, LinkRules
from edge_module.allowance import Allowance
from tests.unit.edge.world import APP_1, Clock, World, make_bundle, noise


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-11-29T{text}:00+00:00").timestamp()


def test_hours_may_lie_over_midnight_and_have_minutes() -> None:
    hours = parse_hours("22-6, 12-13:30")
    moments = {text: datetime.fromtimestamp(at(text), UTC) for text in ("05:59", "06:00", "12:00", "13:30", "23:00")}

    assert [seconds_until_open(hours, each) == 0 for each in moments.values()] == [True, False, True, False, True]
    assert seconds_until_open(hours, moments["06:00"]) == 6 * 3600
    assert seconds_until_open(hours, moments["13:30"]) == 8.5 * 3600
    assert seconds_until_open(parse_hours(""), moments["06:00"]) == 0
    assert seconds_until_open(parse_hours("0-24"), moments["06:00"]) == 0


@pytest.mark.parametrize("text", ["6", "6-6", "24-6", "25-3", "1:60-2", "a-b", "1-2," * 20, "1-2;3-4", "-1-3", "1-2,"])
def test_hours_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ranges of hours"):
        parse_hours(text)
    with pytest.raises(ValidationError):
        DesiredProperties.model_validate({"link": {"hours": text}})


@pytest.mark.parametrize("rate", [-1, 10**13, 0.5, "x"])
def test_a_rate_out_of_its_bounds_is_refused(rate: object) -> None:
    with pytest.raises(ValidationError):
        DesiredProperties.model_validate({"link": {"bytesPerSecond": rate}})


def test_the_twin_outweighs_the_settings_thing_by_thing() -> None:
    clock, now = Clock(), at("12:00")
    allowance = Allowance(LinkRules(bytesPerSecond=1000, hours="1-2"), clock, lambda: now)
    assert not allowance.is_open

    allowance.follow(LinkRules(hours=""))
    allowance.spend(5000)
    assert (allowance.is_open, allowance.wait()) == (True, 5.0)

    allowance.follow(LinkRules(bytesPerSecond=0, hours="12-13"))
    allowance.spend(5000)
    assert (allowance.is_open, allowance.wait()) == (True, 0.0)


@pytest.mark.parametrize("now", [0.0, 86_400.0 * 7, 1e12, -5.0])
def test_a_clock_that_is_not_set_knows_no_hours(now: float) -> None:
    assert Allowance(LinkRules(hours="1-1:01"), Clock(), lambda: now).wait() == 0


def test_a_download_keeps_to_its_rate() -> None:
    world = World(APP_1)
    bundle = make_bundle(patch=noise(600_000, 3))
    world.publish(bundle)
    world.hub.desired_now["link"] = {"bytesPerSecond": 2000}
    device = world.boot()
    world.turn(device, 400, seconds=0.26)

    assert 150_000 < world.outbox.served[bundle.name] <= 104 * 2000 + 2048


def test_outside_its_hours_nothing_is_fetched_and_afterwards_it_goes_on_where_it_was() -> None:
    world = World(APP_1)
    bundle = make_bundle(patch=noise(300_000, 3), chunk_bytes=4096)
    world.outbox.piece_bytes = 8192
    world.publish(bundle)
    world.hub.desired_now["link"] = {"hours": "22-6", "bytesPerSecond": 2000}
    world.wall_clock = at("05:59")
    device = world.boot()
    for _ in range(120):
        device.turn()
        world.clock.now += 1
        world.wall_clock += 1
    fetched = world.outbox.served[bundle.name]
    assert 80_000 < fetched <= 120_000 + 2048

    world.wall_clock = at("22:00")
    world.turn(device, 200, seconds=1)
    assert world.outbox.served[bundle.name] <= bundle.paid_bytes + 2048
    assert "received" in world.states()
