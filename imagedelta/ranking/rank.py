"""Which image on a device is the best source for a target: the smallest estimated patch first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imagedelta.delta.format.profiles import DEFAULT_PROFILE
from imagedelta.ranking.estimate import Target
from imagedelta.ranking.source import Source
from imagedelta.signatures.signature import Signature


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate and what a patch from it would cost."""

    image_id: str
    estimated_bytes: int


def rank(
    target: Signature,
    candidates: Sequence[Signature],
    always: Sequence[Signature] = (),
    *,
    profile: str = DEFAULT_PROFILE.name,
) -> list[Ranked]:
    """Order the candidates, best source first; equal estimates by image ID.

    That order is the same on every device: those that hold the same candidates share one patch, built once.

    Args:
        target: The image to be sent.
        candidates: Images on the device.
        always: Images that serve as further sources whichever candidate is chosen, as the Image
            Reconstruction module's own does.
        profile: Of the patch.
    """
    prepared = Target(target, profile)
    further = [Source(signature) for signature in always]
    ranked = [Ranked(candidate.image_id, prepared.estimate([Source(candidate), *further])) for candidate in candidates]
    return sorted(ranked, key=lambda entry: (entry.estimated_bytes, entry.image_id))


def estimate_full(target: Signature) -> int:
    """Return the estimated bytes of a patch without any source, which are about the same in every profile."""
    return Target(target, DEFAULT_PROFILE.name).estimate([])
