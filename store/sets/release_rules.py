"""Who may be released when: policies, canaries, promotion, requests. Pure rules on records."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.records import DeploymentSet, Member
from contracts.states import RELEASABLE, RELEASED_EACH, RELEASED_TOGETHER


def waits_for_release(of: DeploymentSet) -> bool:
    """A ready set that only a person or a pipeline may release."""
    return of.release_policy == "manual" and not of.release_requested


def releasable_devices(of: DeploymentSet, members: Sequence[Member]) -> tuple[str, ...]:
    """Members that are ready, or whose release was begun and may have to be taken over."""
    each = of.release_policy == "device"
    if of.manifest is None or of.state not in (RELEASED_EACH if each else RELEASED_TOGETHER) or waits_for_release(of):
        return ()
    candidates = [member.device_id for member in members if member.state in RELEASABLE]
    if of.canaries and not of.promoted:
        candidates = [device_id for device_id in candidates if device_id in of.canaries]
    return tuple(candidates)
