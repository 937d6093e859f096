"""Who may be released when: policies, canaries, promotion, requests. Pure rules on records."""

from __future__ import annotations

from contracts.records import DeploymentSet
from contracts.states import RELEASED_EACH, RELEASED_TOGETHER


def waits_for_release(of: DeploymentSet) -> bool:
    """A ready set that only a person or a pipeline may release."""
    return of.release_policy == "manual" and not of.release_requested


def may_release(of: DeploymentSet) -> bool:
    """Whether members that are ready may be released now."""
    states = RELEASED_EACH if of.release_policy == "device" else RELEASED_TOGETHER
    return of.manifest is not None and of.state in states and not waits_for_release(of)


def goes_first(of: DeploymentSet) -> tuple[str, ...]:
    """The only devices that may be released before the set is promoted; () when it makes no difference."""
    return () if of.promoted else of.canaries


def may_release_to(of: DeploymentSet, device_id: str) -> bool:
    first = goes_first(of)
    return may_release(of) and (not first or device_id in first)
