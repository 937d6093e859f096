"""Where a set stands, by which states its members are in. Pure rules: how many are in each never matters."""

from __future__ import annotations

from collections.abc import Callable, Collection

from contracts.records import DeploymentSet
from contracts.states import ARRIVED, BEFORE_ARRIVAL, BEFORE_RELEASE, FLAWED, OUT
from store.sets.release_rules import waits_for_release


def next_set_state(of: DeploymentSet, states: Collection[str], is_prepared: Callable[[], bool]) -> str | None:
    """The one next state of a started set, or of one with failures that have healed; None when it stays.

    Args:
        states: Those that a member of the set is in.
        is_prepared: Whether nothing is left to plan, build or publish for it; asked only where it matters.
    """
    left = [state for state in states if state not in OUT]
    if of.state in BEFORE_RELEASE:
        return _before_release(of, states, left, is_prepared)
    if of.state == "releasing":
        return "released" if all(state in {"released", "applied"} | FLAWED for state in left) else None
    if any(state not in {"applied"} | FLAWED for state in left):
        return None
    final = _final(states)
    return final if final != of.state else None


def _before_release(
    of: DeploymentSet, states: Collection[str], left: Collection[str], is_prepared: Callable[[], bool]
) -> str | None:
    if not left and "superseded" in states:
        return "superseded"
    if all(state == "failed" for state in left):
        return "failed"
    arrived = all(state in ARRIVED or (state == "failed" and not _failure_holds(of)) for state in left)
    if of.state == "ready":
        return _from_ready(of, states, left, arrived)
    if arrived:
        return "ready"
    if of.state == "preparing" and is_prepared():
        return "in_transit"
    return None


def _failure_holds(of: DeploymentSet) -> bool:
    """Policies that release everybody together wait for a person to retry or exclude who failed."""
    return of.manifest is not None and of.release_policy != "device"


def _from_ready(of: DeploymentSet, states: Collection[str], left: Collection[str], arrived: bool) -> str | None:
    if not arrived:
        return "in_transit" if any(state in BEFORE_ARRIVAL for state in left) else None
    if of.manifest is None:
        return _final(states)
    return None if waits_for_release(of) else "releasing"


def _final(states: Collection[str]) -> str:
    flawed = any(state in FLAWED or state == "excluded" for state in states)
    return "completed_with_failures" if flawed else "completed"
