"""Who may be released when: policies, canaries, promotion, requests. Pure rules on records."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.records import DeploymentSet, Member

TOGETHER = ("ready", "releasing", "released")
"""Set states in which policies ``set`` and ``manual`` release; the last for members that a person retried."""
EACH = ("preparing", "in_transit", *TOGETHER)
"""Set states in which policy ``device`` releases whoever is ready."""


def waits_for_release(of: DeploymentSet) -> bool:
    """A ready set that only a person or a pipeline may release."""
    return of.release_policy == "manual" and not of.release_requested


def releasable_devices(of: DeploymentSet, members: Sequence[Member]) -> tuple[str, ...]:
    """Members that are ready, or whose release was begun and may have to be taken over."""
    each = of.release_policy == "device"
    if of.manifest is None or of.state not in (EACH if each else TOGETHER) or waits_for_release(of):
        return ()
    candidates = [member.device_id for member in members if member.state in ("ready", "releasing")]
    if of.canaries and not of.promoted:
        candidates = [device_id for device_id in candidates if device_id in of.canaries]
    return tuple(candidates)
