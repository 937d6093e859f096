"""What becomes of a bundle once somebody has looked at it: one of three verdicts."""

from __future__ import annotations

from dataclasses import dataclass

from imagedelta.errors import ImageDeltaError


@dataclass(frozen=True)
class Done:
    """Dealt with: its image is here, or the cloud has been told what is missing."""


@dataclass(frozen=True)
class Wait:
    """Something here or on the link has to heal first; the bundle is good."""


@dataclass(frozen=True)
class Refused:
    """It will never be taken as it is."""

    error: ImageDeltaError


Verdict = Done | Wait | Refused
DONE, WAIT = Done(), Wait()
