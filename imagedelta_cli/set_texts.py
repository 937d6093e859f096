"""A deployment set and a plan in words: what it waits for, what it costs, what to do next with a command to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imagedelta_cli.cells import (
    bytes_text,
    duration_text,
    field,
    ident,
    image_text,
    sentence,
    size,
    when,
    word,
)
from imagedelta_cli.tables import Cell, Column

Item = Mapping[str, Any]

_UNRELEASED = ("ready", "releasing")
_HELD_BACK = "plan.needs_approval"
_UNKNOWN = "unknown"
NAMED = 20
"""Warnings of one plan."""


def next_step(item: Item) -> str | None:
    """The command that a person has to give before the set goes on; None when it goes on by itself."""
    if item["state"] == "awaiting_approval" or any(one["code"] == _HELD_BACK for one in item.get("troubles", ())):
        return _command("approve", item)
    if item["state"] not in _UNRELEASED:
        return None
    if item["releasePolicy"] == "manual" and not item["releaseRequested"]:
        return _command("release", item)
    return _command("promote", item) if item["canaries"] and not item["promoted"] else None


def _command(verb: str, item: Item) -> str:
    return command_for(verb, item["setId"])


def command_for(verb: str, *arguments: str) -> str:
    """The command of a person's decision about a set, to copy."""
    return shlex.join(["imagedelta", *(() if verb in _OF_THEIR_OWN else ("sets",)), verb, *arguments])


_OF_THEIR_OWN = ("approve", "cancel", "release", "retry", "rollback")


def _sent(item: Item) -> str:
    if not item["wholeBytes"]:
        return bytes_text(item["sentBytes"])
    share = item["sentBytes"] / item["wholeBytes"]
    return f"{bytes_text(item['sentBytes'])} instead of {bytes_text(item['wholeBytes'])} of whole images ({share:.1%})"


def _counts(name: str) -> Cell:
    """``2 building, 1 queued``; nothing where the answer does not say."""

    return Cell(lambda item: _counted(item.get(name)))


def _counted(found: Mapping[str, int] | None) -> str | None:
    return ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in (found or {}).items()) or None


LIST: tuple[Column, ...] = (
    ("SET", ident("setId")),
    ("NAME", field("name")),
    ("STATE", word("state")),
    ("OVERDUE", field("overdue")),
    ("OWNER", field("ownerEmail")),
    ("WORKSTREAM", field("workstream")),
    ("CREATED", when("createdAt")),
)
DETAILS: tuple[Column, ...] = (
    ("set", field("setId")),
    ("name", field("name")),
    ("state", field("state")),
    ("outcome", Cell(lambda item: item.get("outcome"))),
    ("code", field("code")),
    ("detail", field("detail")),
    ("what to do", field("remedy")),
    ("next step", Cell(next_step)),
    ("overdue", field("overdue")),
    ("workstream", field("workstream")),
    ("owner", Cell(lambda item: f"{item['ownerName']} <{item['ownerEmail']}>")),
    ("ordered by", field("orderedBy")),
    ("approved by", field("approvedBy")),
    ("release", field("releasePolicy")),
    ("release by", field("releaseBy")),
    ("images", Cell(lambda item: list(item["images"]))),
    ("devices", _counts("memberStates")),
    ("transfers", _counts("transferStages")),
    ("planned", size("plannedBytes")),
    ("sent", Cell(_sent)),
    ("created", when("createdAt")),
    ("updated", when("updatedAt")),
)
MEMBERS: tuple[Column, ...] = (
    ("DEVICE", ident("deviceId")),
    ("STATE", word("state")),
    ("WAITS FOR", field("waitsFor")),
    ("PLANNED", size("plannedBytes")),
    ("SENT", size("sentBytes")),
    ("CODE", field("code")),
    ("UPDATED", when("updatedAt")),
    ("DETAIL", sentence("detail")),
)
PLAN: tuple[Column, ...] = (
    ("DEVICE", ident("device")),
    ("REFERENCE", field("reference")),
    ("FROM", field("source")),
    ("FULL", size("fullBytes")),
    ("TO SEND", size("estimatedBytes")),
    ("%", field("percent")),
    ("ON LINK", field("onLink")),
    ("MONEY", field("money")),
)


def progress_of(item: Item) -> str:
    """``set-1: preparing (1 in transit; 1 building, 2 queued; waits for boat: device.no_inventory)``, what is known."""
    counts = [words for name in ("memberStates", "transferStages") if (words := _counted(item.get(name)))]
    waits = [f"waits for {_devices(one['example'], one['devices'])}: {one['code']}" for one in item.get("waiting", ())]
    known = "; ".join(counts + waits)
    return f"{item['setId']}: {item['state']}" + (f" ({known})" if known else "")


def remarks(item: Item) -> Iterator[str]:
    """A sentence for what went wrong, for each thing that the set waits for, and for each that made it dearer than
    it need be."""
    for trouble in item["troubles"]:
        yield _went_wrong(trouble)
        yield from (f"  {_command(verb, item)} {shlex.quote(one)}" for verb, one in _ways_on(trouble))
    yield from _wanting(item)


def _wanting(item: Item) -> Iterator[str]:
    for waiting in item["waiting"]:
        yield f"{_waits(waiting['code'], waiting['example'], waiting['devices'])} {waiting['remedy']}"
    for warning in item["warnings"]:
        devices = _devices(warning["example"], warning["devices"])
        yield _dearer(warning["reference"], warning["held"], devices, warning["estimatedBytes"])


_WORDS = {
    "conflict": "in conflict, so that nothing is released there before a person decides",
    "apply_failed": "not running what was released",
    "ready": "waiting to be released",
    "releasing": "waiting to be released",
}
"""What a state of a member in trouble means to its reader."""
_DECISIONS = {"conflict": ("rebase", "skip"), "failed": ("retry", "exclude")}
"""What a person orders for a device in this state, once the cause is mended or to do without it."""


def _went_wrong(trouble: Item) -> str:
    """Who, what it means, why, and what to do about it."""
    more = trouble["devices"] - len(trouble["named"])
    names = ", ".join(trouble["named"]) + (f" and {more:,} more" if more else "")
    means = _WORDS.get(trouble["state"], trouble["state"].replace("_", " "))
    detail = f" {trouble['detail'].rstrip('.')}." if trouble["detail"] else ""
    why = f" {trouble['code']}:{detail} {trouble['remedy']}" if trouble["code"] else detail
    return f"{trouble['devices']:,} {means}: {names}.{why}"


def _ways_on(trouble: Item) -> Iterator[tuple[str, str]]:
    """Commands for the first of the devices; one that waits for approval is decided with its set."""
    verbs = () if trouble["code"] == _HELD_BACK else _DECISIONS.get(trouble["state"], ())
    return ((verb, trouble["named"][0]) for verb in verbs)


def _devices(example: str, number: int) -> str:
    return example + (f" and {number - 1:,} more" if number > 1 else "")


def _waits(code: str, example: str, number: int) -> str:
    return f"Waits for {_devices(example, number)}: {code}."


def _dearer(reference: str, held: Sequence[str], devices: str, cost: int) -> str:
    """What is held is named as the devices name it."""
    why = f"not registered but on {devices}: {', '.join(held)}"
    return f"Warning: {reference} costs {bytes_text(cost)}; {why}. Register it, so that later patches start from it."


def plan_rows(planned: Item) -> Iterator[dict[str, Any]]:
    """A row for each image of each device; link and money stand at a device's first."""
    for device in planned["devices"]:
        costs = _link_costs(device)
        if not device["images"]:
            nothing = dict.fromkeys(("source", "fullBytes", "estimatedBytes", "percent"))
            why = device["detail"] or device["code"] or device["state"]
            yield {"device": device["deviceId"], "reference": why, **nothing, **costs}
        for item in device["images"]:
            yield _plan_row(device["deviceId"], item) | costs
            costs = dict.fromkeys(costs)


def _link_costs(device: Item) -> dict[str, str | None]:
    """Nothing costs nothing, also where nobody knows what something would."""
    if not device["estimatedBytes"]:
        return {"onLink": None, "money": None}
    return {"onLink": duration_text(device["hoursOnLink"]) or _UNKNOWN, "money": _money(device["money"])}


def _money(money: float | None) -> str:
    if money is None:
        return _UNKNOWN
    return f"{money:.3g}" if money < 1000 else f"{money:,.0f}"


def _plan_row(device_id: str, item: Item) -> dict[str, Any]:
    percent = 100 * item["estimatedBytes"] / item["fullBytes"] if item["fullBytes"] else 0
    named = ", ".join(item["sourceReferences"]) or image_text(item["source"]) or "nothing"
    source = "already there" if item["alreadyPresent"] else named
    return {"device": device_id, **item, "source": source, "percent": f"{percent:.1f}"}


def _link_remarks(planned: Item) -> Iterator[str]:
    if planned["longestHours"] is not None:
        yield f"{duration_text(planned['longestHours'])} on the slowest link that is known."
    if planned["totalMoney"] is not None:
        yield f"{_money(planned['totalMoney'])} of money where the price is known."
    if unknown := max(planned["hoursUnknown"], planned["moneyUnknown"]):
        devices = f"{unknown:,} device{'s' if unknown > 1 else ''}"
        yield (
            f"Hours or money are unknown for {devices}: set the tags link-kbits-per-second and money-per-megabyte, "
            "or enrol with --bytes-per-second and --money-per-megabyte."
        )


def plan_remarks(planned: Item) -> Iterator[str]:
    shown, number = len(planned["devices"]), planned["deviceCount"]
    if shown < number:
        yield f"{shown:,} of {number:,} devices are shown."
    yield f"{bytes_text(planned['totalBytes'])} in all."
    yield from _link_remarks(planned)
    for reason in planned["reasons"]:
        yield f"Needs approval: {reason}"
    yield from _wanting(planned)
