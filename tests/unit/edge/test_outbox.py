"""Messages that wait for the hub."""

from __future__ import annotations

import random
from itertools import pairwise

from edge_module.backoff import Backoff
from edge_module.hub import Envelope
from edge_module.outbox import Outbox
from tests.simulators.files import FileSystemSimulator
from tests.simulators.hub_device import HubSimulator
from tests.unit.edge.world import Clock


def an_outbox(disk: FileSystemSimulator, clock: Clock | None = None) -> Outbox:
    return Outbox(disk, Backoff(1.0, 300.0, random.Random(1)), clock or Clock())


def a_message(number: int, kind: str = "report") -> Envelope:
    return Envelope(f"message-{number}", kind, f"body {number}".encode())


def test_what_was_put_survives_the_power_and_goes_out_in_order() -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    outbox = an_outbox(disk)
    for number in range(12):
        outbox.put(a_message(number))
    disk.reboot("dropped")

    assert an_outbox(disk).flush(hub)

    assert hub.messages == [a_message(number) for number in range(12)]
    assert disk.list("outbox") == []


def test_a_lost_acknowledgement_repeats_the_message_with_the_same_id() -> None:
    disk, hub, clock = FileSystemSimulator(), HubSimulator(), Clock()
    outbox = an_outbox(disk, clock)
    outbox.put(a_message(1))
    hub.lose_acknowledgements = 1

    assert not outbox.flush(hub)
    clock.now += 10
    assert outbox.flush(hub)

    assert hub.messages == [a_message(1), a_message(1)]


def test_the_waits_grow_while_the_hub_is_away_and_order_is_kept() -> None:
    disk, hub, clock = FileSystemSimulator(), HubSimulator(), Clock()
    outbox = an_outbox(disk, clock)
    outbox.put(a_message(1))
    outbox.put(a_message(2))
    hub.reachable = False
    tries = []
    hub._answer = lambda: tries.append(clock.now) or HubSimulator._answer(hub)  # type: ignore[method-assign]

    for _ in range(3000):
        outbox.flush(hub)
        clock.now += 1

    waits = [after - before for before, after in pairwise(tries)]
    assert waits[:3] < waits[-3:]
    assert 150 <= max(waits) <= 301
    hub.reachable = True
    clock.now += 400
    assert outbox.flush(hub)
    assert [message.message_id for message in hub.messages] == ["message-1", "message-2"]


def test_the_same_message_waits_only_once() -> None:
    disk = FileSystemSimulator()
    outbox = an_outbox(disk)

    outbox.put(a_message(1))
    outbox.put(a_message(1))

    assert len(outbox) == 1


def test_only_the_newest_inventory_waits() -> None:
    disk = FileSystemSimulator()
    outbox = an_outbox(disk)
    for number in range(30):
        outbox.put(a_message(number, "inventory"))
    outbox.put(a_message(99))

    assert [message.message_id for message in outbox.waiting()] == ["message-29", "message-99"]


def test_a_message_the_hub_will_never_take_does_not_hold_up_the_others() -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    hub.refuse = {"inventory"}
    outbox = an_outbox(disk)
    outbox.put(a_message(1, "inventory"))
    outbox.put(a_message(2))

    assert outbox.flush(hub)

    assert [message.message_id for message in hub.messages] == ["message-2"]


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    outbox = an_outbox(disk)
    disk.put("outbox/000000000001-" + "0" * 32 + ".json", b"{")
    outbox.put(a_message(2))

    assert outbox.flush(hub)

    assert [message.message_id for message in hub.messages] == ["message-2"]
