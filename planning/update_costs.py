"""What an update to an image would cost the fleet, version by version, from signatures alone.

Each device counts with the nearest of the versions that it has. A plan may find something cheaper on it, so that these
are bounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from imagedelta.ranking import rank
from imagedelta.signatures.signature import Signature


@dataclass(frozen=True)
class VersionCost:
    image_id: str
    devices: int
    estimated_bytes: int


def version_costs(
    target: Signature, held: Mapping[frozenset[str], int], signatures: Mapping[str, Signature], profile: str
) -> tuple[list[VersionCost], int]:
    """Return the versions that some device would start from, dearest first, and how many devices have none of these.

    Args:
        held: Versions that devices hold together -> how many devices do.
        signatures: Of those versions that are looked at.
        profile: Of the patches.
    """
    cost = {one.image_id: one.estimated_bytes for one in rank(target, list(signatures.values()), profile=profile)}
    starting: Counter[str] = Counter()
    not_measured = 0
    for together, devices in held.items():
        known = sorted(together & cost.keys(), key=lambda image_id: (cost[image_id], image_id))
        if known:
            starting[known[0]] += devices
        else:
            not_measured += devices
    found = [VersionCost(image_id, devices, cost[image_id]) for image_id, devices in starting.items()]
    return sorted(found, key=lambda one: (-one.estimated_bytes, one.image_id)), not_measured


def most_held(held: Mapping[frozenset[str], int], most: int) -> list[str]:
    """The versions that most devices have, at most so many."""
    devices: Counter[str] = Counter()
    for together, number in held.items():
        devices.update(dict.fromkeys(together, number))
    return sorted(devices, key=lambda image_id: (-devices[image_id], image_id))[:most]
