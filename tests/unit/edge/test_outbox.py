"""Messages that wait for the hub."""

from __future__ import annotations

import base64
import errno
import json
import math
import random
import threading
from itertools import pairwise

import pytest

from edge_module import outbox as module
from edge_module.backoff import Backoff
from edge_module.damage import DamageLog
from edge_module.hub import Envelope
from edge_module.outbox import Outbox
from imagedelta.errors import ContentError, DependencyError, RequestError
from tests.simulators.files import FileSystemSimulator
from tests.simulators.hub_device import HubSimulator
from tests.unit.edge.world import Clock


def an_outbox(disk: FileSystemSimulator, clock: Clock | None = None) -> Outbox:
    return Outbox(disk, Backoff(1.0, 300.0, random.Random(1)), clock or Clock(), DamageLog(disk))


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


def a_report(transfer: int, sequence: int) -> Envelope:
    return Envelope(f"transfer-{transfer}:1:{sequence}", "report", b"x" * 100)


def ids(outbox: Outbox) -> list[str]:
    return [message.message_id for message in outbox.waiting()]


def test_a_link_that_is_away_for_months_fills_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a newer report of the same attempt has overtaken gives way first, then the oldest."""
    monkeypatch.setattr(module, "MAX_MESSAGES", 4)
    disk = FileSystemSimulator()
    outbox = an_outbox(disk)
    outbox.put(a_message(0, "inventory"))
    for message in (a_report(1, 1), a_report(2, 1), a_report(2, 2), a_report(3, 1), a_report(4, 1), a_report(5, 1)):
        outbox.put(message)

    kept = ["message-0", "transfer-3:1:1", "transfer-4:1:1", "transfer-5:1:1"]
    assert ids(outbox) == ids(an_outbox(disk)) == kept
    assert len(disk.list("outbox")) == 4


def test_large_messages_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    outbox = an_outbox(FileSystemSimulator())
    for number in range(30):
        outbox.put(a_report(number, 1))

    assert ids(outbox) == [f"transfer-{number}:1:1" for number in range(20, 30)]


def test_a_message_that_no_hub_takes_is_not_kept() -> None:
    outbox = an_outbox(FileSystemSimulator())

    with pytest.raises(ContentError):
        outbox.put(Envelope("large", "report", bytes(256 * 1024 + 1)))
    assert len(outbox) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_writes_mutes_nobody(number: int) -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    outbox = an_outbox(disk)
    durable = [outbox.put(a_message(1))]
    disk.fail_at(1, number, math.inf)
    durable.append(outbox.put(a_message(2)))
    durable.append(outbox.put(a_message(2)))

    for _ in range(3):
        assert outbox.flush(hub)

    assert durable == [True, False, False]
    assert hub.messages == [a_message(1), a_message(2)], "each once, though the disk keeps the first"
    disk.heal()
    outbox.put(a_message(3))
    assert ids(outbox) == ids(an_outbox(disk)) == ["message-3"]


def test_what_waits_in_memory_is_put_on_the_disk_once_that_takes_it() -> None:
    disk = FileSystemSimulator()
    outbox = an_outbox(disk)
    disk.fail_at(1, errno.ENOSPC, math.inf)
    for number in range(5):
        outbox.put(a_message(number))
    disk.heal()

    assert outbox.put(a_message(5))

    disk.reboot("dropped")
    assert ids(an_outbox(disk)) == [f"message-{number}" for number in range(6)]


def test_memory_is_bounded_too_and_the_newest_inventory_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES_IN_MEMORY", 1000)
    disk = FileSystemSimulator()
    outbox = an_outbox(disk)
    outbox.put(a_report(0, 1))
    disk.fail_at(1, errno.ENOSPC, math.inf)
    for number in range(20):
        outbox.put(Envelope(f"inventory-{number}", "inventory", b"x" * 300))
        outbox.put(a_report(number + 1, 1))

    assert ids(outbox) == [
        "transfer-0:1:1",
        *(f"transfer-{number}:1:1" for number in range(14, 20)),
        "inventory-19",
        "transfer-20:1:1",
    ]


def test_an_inventory_on_the_disk_is_kept_until_a_newer_one_is() -> None:
    disk = FileSystemSimulator()
    outbox = an_outbox(disk)
    outbox.put(a_message(1, "inventory"))
    disk.fail_at(1, errno.ENOSPC, math.inf)
    outbox.put(a_message(2, "inventory"))

    assert ids(an_outbox(disk)) == ["message-1"]
    disk.heal()
    outbox.put(a_message(3))
    assert ids(an_outbox(disk)) == ["message-2", "message-3"]


def test_an_outbox_that_cannot_be_read_yet_still_sends_what_is_new() -> None:
    disk, hub, clock = FileSystemSimulator(), HubSimulator(), Clock()
    an_outbox(disk).put(a_message(1))
    disk.fail_reading_at(1, errno.EIO, math.inf)
    disk.fail_at(1, errno.EIO, math.inf)

    outbox = an_outbox(disk, clock)
    outbox.put(a_message(2))
    assert outbox.flush(hub)
    assert hub.messages == [a_message(2)]

    disk.heal()
    clock.now += 60
    assert outbox.flush(hub)
    assert hub.messages == [a_message(2), a_message(1)]
    assert disk.list("outbox") == []


@pytest.mark.parametrize(
    "change",
    [
        {"body": "no base 64!"},
        {"body": 7},
        {"message_id": "another"},
        {"kind": None},
    ],
)
def test_a_message_that_is_not_what_it_was_is_set_aside(change: dict[str, object]) -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    an_outbox(disk).put(a_message(1))
    name = f"outbox/{disk.list('outbox')[0]}"
    disk.put(name, json.dumps(json.loads(disk.files()[name]) | change).encode())

    damage = DamageLog(disk)
    outbox = Outbox(disk, Backoff(), Clock(), damage)

    assert outbox.flush(hub)
    assert (hub.messages, [each["file"] for each in damage.told()]) == ([], [name])


def test_a_message_of_the_first_version_is_sent() -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    record = {"message_id": "message-1", "kind": "report", "body": base64.b64encode(b"body 1").decode()}
    record |= {"content_encoding": "", "content_type": "application/json", "newer": 1}
    an_outbox(disk).put(a_message(1))
    disk.put(f"outbox/{disk.list('outbox')[0]}", json.dumps(record).encode())

    assert an_outbox(disk).flush(hub)
    assert hub.messages == [a_message(1)]


def test_only_what_the_hub_refuses_for_good_is_dropped() -> None:
    disk, hub, clock = FileSystemSimulator(), HubSimulator(), Clock()
    outbox = an_outbox(disk, clock)
    outbox.put(a_message(1))
    outbox.put(a_message(2))
    send, problems = (
        hub.send,
        [ValueError("odd"), RequestError("set it up", code="device.settings"), DependencyError("")],
    )

    def fail(message: Envelope) -> None:
        if problems:
            raise problems.pop(0)
        send(message)

    hub.send = fail  # type: ignore[method-assign]
    for _ in range(4):
        outbox.flush(hub)
        clock.now += 1000

    assert hub.messages == [a_message(2), a_message(1)], "what fails in an odd way lets the others go first"


def test_reports_are_taken_while_the_hub_keeps_a_message_waiting() -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    outbox = an_outbox(disk)
    outbox.put(a_message(0))
    asked, answer = threading.Event(), threading.Event()
    send = hub.send

    def hang(message: Envelope) -> None:
        asked.set()
        assert answer.wait(10)
        send(message)

    hub.send = hang  # type: ignore[method-assign]
    sender = threading.Thread(target=outbox.flush, args=(hub,))
    sender.start()
    assert asked.wait(10)

    writers = [
        threading.Thread(target=lambda at=at: [outbox.put(a_message(at + n)) for n in range(20)]) for at in (100, 200)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(10)
    assert len(outbox) == 41
    answer.set()
    sender.join(10)

    assert outbox.flush(hub)
    assert sorted(int(message.message_id[8:]) for message in hub.messages) == [0, *range(100, 120), *range(200, 220)]
    assert disk.list("outbox") == []
