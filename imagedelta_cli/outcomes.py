"""How a set or a plan stands, in one word of a few, and the exit code that a pipeline can rely on.

The word is ``outcome`` in the JSON of ``plan``, ``deploy`` and ``status``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from imagedelta_cli import exits
from imagedelta_cli.set_texts import next_step

ENDED = frozenset({"completed", "completed_with_failures", "failed", "cancelled", "superseded"})


class Outcome(StrEnum):
    COMPLETED = "completed"
    ALREADY_THERE = "already_there"
    """Everything was on the devices: not a byte was, or is to be, sent."""
    PARTLY_FAILED = "partly_failed"
    FAILED = "failed"
    """Or cancelled, or superseded by a newer set."""
    NEEDS_PERSON = "needs_person"
    UNDER_WAY = "under_way"
    TO_SEND = "to_send"
    """Of a plan."""

    @property
    def exit_code(self) -> int:
        return _EXITS[self]


_EXITS = {
    Outcome.COMPLETED: exits.DONE,
    Outcome.ALREADY_THERE: exits.ALREADY_THERE,
    Outcome.PARTLY_FAILED: exits.PARTLY_FAILED,
    Outcome.FAILED: exits.SET_FAILED,
    Outcome.NEEDS_PERSON: exits.NEEDS_PERSON,
    Outcome.UNDER_WAY: exits.DONE,
    Outcome.TO_SEND: exits.DONE,
}


def outcome_of_set(item: Mapping[str, Any]) -> Outcome:
    state = item["state"]
    if state in ("failed", "cancelled", "superseded"):
        return Outcome.FAILED
    if state == "completed_with_failures":
        return Outcome.PARTLY_FAILED
    if state == "completed":
        return Outcome.ALREADY_THERE if _sent_nothing(item) else Outcome.COMPLETED
    conflict = any(trouble["state"] == "conflict" for trouble in item.get("troubles", ()))
    return Outcome.NEEDS_PERSON if next_step(item) or conflict else Outcome.UNDER_WAY


def outcome_of_plan(planned: Mapping[str, Any]) -> Outcome:
    if planned["needsApproval"]:
        return Outcome.NEEDS_PERSON
    there = planned["deviceCount"] and not planned["totalBytes"] and set(planned["states"]) <= {"planned", "ready"}
    return Outcome.ALREADY_THERE if there else Outcome.TO_SEND


def _sent_nothing(item: Mapping[str, Any]) -> bool:
    """A set that found everything in place costs 0; null is one that was never planned."""
    return item["plannedBytes"] == 0 and not item["sentBytes"]
