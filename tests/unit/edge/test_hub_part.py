"""When the part that talks looks at the twin, and when it tells what waits."""

from __future__ import annotations

from tests.unit.edge.world import APP_1, World, make_bundle


def test_a_twin_that_the_hub_tells_of_is_taken_at_the_next_turn() -> None:
    world = World(APP_1)
    device = world.run()
    world.hub.desired_now["paused"] = True
    world.turn(device, 1, 0.0)
    assert world.hub.reported["paused"] is False

    assert world.hub.wake is not None
    world.hub.wake()
    world.turn(device, 2, 0.0)

    assert world.hub.reported["paused"] is True


def test_news_that_come_while_the_hub_is_away_are_not_forgotten() -> None:
    world = World(APP_1)
    device = world.run()
    world.hub.desired_now["paused"] = True
    world.hub.reachable = False
    assert world.hub.wake is not None
    world.hub.wake()
    world.turn(device, 3, 0.0)

    world.hub.reachable = True
    world.turn(device, 5)

    assert world.hub.reported["paused"] is True


def test_what_waited_is_told_as_soon_as_the_hub_is_there_again() -> None:
    world = World(APP_1)
    world.hub.reachable = False
    device = world.boot()
    world.turn(device, 400, 5.0)  # the outbox waits for minutes by now
    assert world.hub.inventories == []

    world.hub.reachable = True
    world.turn(device, 61, 1.0)

    assert len(world.hub.inventories) == 1


def test_a_fresh_grant_of_the_outbox_is_used_at_once() -> None:
    world = World(APP_1)
    world.outbox.status = 403
    device = world.boot()
    world.turn(device, 400, 5.0)  # the container is looked at every minute by now
    world.outbox.status = None
    world.publish(make_bundle())

    world.hub.desired_now["outbox"] = {**world.hub.desired_now["outbox"], "query": "sig=fresh"}
    assert world.hub.wake is not None
    world.hub.wake()
    world.turn(device, 3, 0.01)

    assert world.states() != []


def test_a_device_that_stops_ends_its_connection() -> None:
    world = World(APP_1)
    device = world.boot()

    device._end([])

    assert world.hub.closed
