"""Why a device does not get what was ordered: findings from what the deployment tells of it, each with who acts next.

The order is that of a person who looks: the device itself, what is on its way to it, its sets. Words are for people;
``code``, ``actor`` and ``stuck`` are for programs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from imagedelta_cli.outcomes import ENDED
from imagedelta_cli.set_texts import command_for, next_step

Item = Mapping[str, Any]

OPERATOR, DEVICE, LINK, CLOUD, NOBODY = "operator", "device", "link", "cloud", "nobody"
"""Who acts next."""
ACTORS = (NOBODY, OPERATOR, DEVICE, LINK, CLOUD)
_OVER = frozenset({"succeeded", "already_present", "cancelled", "failed"})
"""Of transfers; what failed is told with the set that needed it."""
_OUT = frozenset({"applied", "excluded", "cancelled", "superseded"})
"""Members that nothing is done for any more."""
_PATIENCE = timedelta(hours=2)
"""A device that is heard from so long after its bundle was there does not fetch it; times heard are whole hours."""


@dataclass(frozen=True)
class Finding:
    what: str
    actor: str
    stuck: bool
    """It does not go on by itself, or not as it should."""
    code: str | None = None
    since: str | None = None
    remedy: str | None = None
    command: str | None = None


def explain(device: Item, transfers: Sequence[Item], sets: Sequence[tuple[Item, Item]]) -> list[Finding]:
    """What holds the device up first, then what merely goes on.

    Args:
        sets: Each with the device's member of it.
    """
    under_way = [item for item in transfers if item["stage"] not in _OVER]
    found = [
        *_of_device(device),
        *(finding for item in under_way for finding in _of_transfer(device, item)),
        *(finding for item, member in sets for finding in _of_member(item, member, bool(under_way))),
    ]
    if not found:
        return [Finding("It has all that was ordered for it.", NOBODY, stuck=False)]
    return sorted(found, key=lambda finding: not finding.stuck)


def _of_device(device: Item) -> Iterator[Finding]:
    named = shlex.quote(device["deviceId"])
    if device["state"] == "retired":
        yield Finding("It is retired: nothing is sent to it.", OPERATOR, True, remedy="Enrol it under another id.")
        return
    resync = f"imagedelta devices resync {named}"
    if device["missingSince"]:
        what = f"Hub {device['hub']} does not know it, or not its module."
        remedy = "Register it there, or name the hub and id that it has now with `imagedelta devices rebind`."
        yield Finding(what, OPERATOR, True, device["waitsFor"], device["missingSince"], remedy)
    if device["state"] == "held":
        what = f"It is held: {device['heldReason'] or 'its identity is in doubt'}."
        yield Finding(what, OPERATOR, True, "device.held", None, device["remedy"], resync)
    elif device["state"] == "enrolled":
        what = "Its module has not told yet what is on it."
        since = device["enrolledAt"]
        yield Finding(what, DEVICE, True, "device.no_inventory", since, device["remedy"], resync)
    elif device["waitsFor"] and not device["missingSince"]:
        yield Finding("Its twin cannot be written.", OPERATOR, True, device["waitsFor"], None, device["remedy"])
    if device["silentSince"]:
        heard = f"last at {_short(device['heardAt'])}" if device["heardAt"] else "never"
        remedy = "Look whether it is on, its module runs and its link is up; weeks without one are normal at sea."
        yield Finding(
            f"It was to be heard from and was not; {heard}.", DEVICE, True, None, device["silentSince"], remedy
        )


_IN_THE_CLOUD = {
    "unplanned": "waits to be planned",
    "queued": "waits for its patch to be built",
    "building": "has its patch built",
    "publishing": "is put into the outbox",
    "source_missing": "is planned anew: the device has not the image that the patch starts from",
}


def _of_transfer(device: Item, item: Item) -> Iterator[Finding]:
    name, stage, since = item["reference"], item["stage"], item["updatedAt"]
    if stage == "blocked":
        yield Finding(
            _because(f"{name} is blocked on the device", item), DEVICE, True, item["code"], since, item["remedy"]
        )
    elif stage == "published" and _does_not_fetch(device, item):
        what = f"{name} lies in its outbox; the device is heard from and does not fetch it."
        remedy = (
            "Look for a file `hold` aboard, a pause in its twin, --link-hours that leave it no time, "
            "or a transfer tool that has stopped."
        )
        yield Finding(what, DEVICE, True, item["code"], since, remedy)
    elif stage == "published":
        yield Finding(f"{name} lies in its outbox and waits for its link.", LINK, False, item["code"], since)
    elif stage == "receiving":
        yield Finding(f"{name} is being fetched.", LINK, False, item["code"], since)
    elif stage in _IN_THE_CLOUD:
        what = f"{name} {_IN_THE_CLOUD[stage]}"
        yield Finding(_because(what, item), CLOUD, False, item["code"], since, item["remedy"])
    else:
        yield Finding(f"{name} is {stage.replace('_', ' ')} on the device.", DEVICE, False, item["code"], since)


def _does_not_fetch(device: Item, item: Item) -> bool:
    heard, there = _time(device["heardAt"]), _time(item["updatedAt"])
    return heard is not None and there is not None and heard - there >= _PATIENCE


def _of_member(item: Item, member: Item, images_under_way: bool) -> Iterator[Finding]:
    set_id, device_id = item["setId"], member["deviceId"]
    state, since = member["state"], member["updatedAt"]
    why: dict[str, Any] = {"code": member["code"], "since": since, "remedy": member["remedy"]}
    if state == "failed":
        what = _because(f"It failed in {set_id}", member)
        yield Finding(what, OPERATOR, True, **why, command=command_for("retry", set_id, device_id))
    elif state == "conflict":
        what = _because(f"In {set_id} someone else has changed its deployment meanwhile", member)
        yield Finding(what, OPERATOR, True, **why, command=command_for("rebase", set_id, device_id))
    elif state == "apply_failed":
        what = _because(f"It does not run what {set_id} released", member)
        yield Finding(what, OPERATOR, True, **why, command=command_for("rollback", set_id))
    elif item["state"] in ENDED or state in _OUT:
        return
    elif (command := next_step(item)) is not None:
        what = f"{set_id} is {_words(item['state'])} and waits for a person."
        yield Finding(what, OPERATOR, True, item["code"], item["updatedAt"], item["remedy"], command)
    elif state == "ready" and item["state"] not in ("ready", "releasing", "released"):
        what = f"It has all of {set_id}, which waits for its other devices."
        yield Finding(what, DEVICE, False, **why, command=f"imagedelta status {shlex.quote(set_id)}")
    elif state in ("ready", "releasing"):
        yield Finding(_because(f"{set_id} is about to be released to it", member), CLOUD, False, **why)
    elif state == "released":
        yield Finding(f"{set_id} was released; the device has not confirmed it yet.", DEVICE, False, **why)
    elif state == "planned" and not images_under_way:
        yield Finding(_because(f"{set_id} is {_words(item['state'])}", member), CLOUD, False, **why)


def _because(what: str, item: Item) -> str:
    return f"{what}: {str(item['detail']).rstrip('.')}." if item["detail"] else f"{what}."


def _words(state: str) -> str:
    return state.replace("_", " ")


def _short(time: str) -> str:
    return time[:16].replace("T", " ")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
