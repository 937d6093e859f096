"""What came of a voyage: nothing lost, nothing twice, no set stuck; and the tables that tell of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from imagedelta_host.durable.history import TERMINAL
from tests.simulators.fleet import an_app
from tests.simulators.fleet_voyage import IMAGES, Voyage

_ENDS = {"failing": "failed", "gone": "excluded", "skipped": "excluded"}
"""Trouble -> the state that a member ends in; applied in all others."""
_UNTROUBLED = ("", "offline", "rebased")
"""Devices with these are sent each image once."""
_MOST_MAILS = 20
"""However many devices there are."""

_OF_DEVICES = frozenset({"devices", "device_tags", "device_images", "device_installations"})
"""Tables whose rows a device has once, however many sets it gets."""
_OF_SETS = frozenset({"history", "transfers", "releases", "member_transfers", "bundles", "members"})
"""Tables that grow with each set and device; the others do not grow with the fleet."""


def faults(voyage: Voyage) -> list[str]:
    """What is not as it must be; empty after a good voyage. Asks the cloud, the hubs and the devices."""
    return [*_lost(voyage), *_twice(voyage), *_stuck(voyage)]


def _lost(voyage: Voyage) -> Iterator[str]:
    targets = {an_app(f"app-{number}:2").image_id for number in range(IMAGES)}
    for device_id, member in voyage.members().items():
        boat = voyage.boats[device_id]
        trouble, state = boat.trouble.partition(",")[0], member["state"]
        wanted = _ENDS.get(trouble, "applied")
        if state != wanted:
            yield f"{device_id} ({trouble or 'no trouble'}) is {state} ({member['code']}), not {wanted}"
        if wanted == "applied" and not targets <= boat.images.keys():
            yield f"{device_id} ({trouble or 'no trouble'}) lacks {len(targets - boat.images.keys())} images"
    if voyage.members().keys() != voyage.boats.keys():
        yield "the set has other members than were ordered"
    if quarantined := voyage.store.quarantine.entries(limit=1, after=None).items:
        yield f"a message is in quarantine: {quarantined[0]}"


def _twice(voyage: Voyage) -> Iterator[str]:
    written = Counter(device_id for hub in voyage.hubs.values() for device_id, _ in hub.applied)
    for device_id, member in voyage.members().items():
        boat = voyage.boats[device_id]
        wanted = 1 if member["state"] == "applied" else 0
        if written[device_id] != wanted:
            yield f"the deployment of {device_id} ({boat.trouble}) was written {written[device_id]} times"
        if boat.trouble in _UNTROUBLED and len(boat.done) != IMAGES:
            yield f"{device_id} ({boat.trouble or 'no trouble'}) fetched {len(boat.done)} bundles"
    mails = Counter(mail.message_id for mail in voyage.mail.taken)
    if sum(mails.values()) - len(mails) > voyage.fate.deaths:
        yield f"mails were sent again more often than the host died: {mails}"
    if len(mails) > _MOST_MAILS:
        yield f"{len(mails)} mails for one set"


def _stuck(voyage: Voyage) -> Iterator[str]:
    found = voyage.the_set()
    if found["state"] != "completed_with_failures":
        yield f"the set is {found['state']}"
    for notification in found["notifications"]:
        if notification["state"] not in ("sent", "dropped"):
            yield f"the mail {notification['kind']} {notification['number']} is {notification['state']}"
    for row in voyage.host.instances():
        if row.status not in TERMINAL or row.status == "Failed":
            yield f"the orchestration {row.id} is {row.status}: {row.output}"
    before = voyage.events()
    for _ in range(3):
        voyage.now.forward(days=1)
        voyage.host.tick()
    if voyage.events() != before:
        yield f"{voyage.events() - before} more events after the end"


def table_bytes(voyage: Voyage) -> dict[str, int]:
    """Of each table with its indexes, as they lie in the database file."""
    with voyage.store._db.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT m.tbl_name, SUM(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name GROUP BY m.tbl_name"
        ).all()
    return {str(name): int(size) for name, size in sorted(rows, key=lambda row: -row[1])}


def document(voyage: Voyage) -> dict[str, Any]:
    """Everything worth telling, for people and programs."""
    members = voyage.members()
    by_trouble: dict[str, Counter[str]] = {}
    for device_id, member in members.items():
        trouble = voyage.boats[device_id].trouble.partition(",")[0] or "none"
        by_trouble.setdefault(trouble, Counter())[member["state"]] += 1
    return {
        "devices": len(voyage.boats),
        "images": IMAGES,
        "days": round((voyage.now() - voyage.ordered_at).total_seconds() / 86_400, 1),
        "rounds": voyage.log.rounds,
        "messages": voyage.log.messages,
        "deaths": voyage.fate.deaths,
        "diedDuring": dict(voyage.log.redone),
        "hubRefusals": {name: outage.refused for name, outage in voyage.outages.items()},
        "operations": voyage.fate.operations,
        "patches": len(voyage.every("patches")),
        "bundles": sum(len(boat.numbers) for boat in voyage.boats.values()),
        "bytesFetched": sum(boat.bytes_fetched for boat in voyage.boats.values()),
        "members": {trouble: dict(states) for trouble, states in sorted(by_trouble.items())},
        "mails": [mail.subject for mail in voyage.mail.taken],
        "seconds": {name: round(taken, 1) for name, taken in voyage.log.seconds.items()},
        "cpuSeconds": {name: round(taken, 1) for name, taken in voyage.log.cpu_seconds.items()},
        "tableBytes": table_bytes(voyage),
    }


def per_device_and_year(tables: Mapping[str, int], devices: int, sets: int) -> dict[str, float]:
    """Bytes that each table takes for a device in a year of so many such sets."""
    return {
        name: size / devices * (1 if name in _OF_DEVICES else sets)
        for name, size in tables.items()
        if name in _OF_DEVICES | _OF_SETS
    }
