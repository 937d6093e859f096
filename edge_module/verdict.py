"""What becomes of a bundle once somebody has looked at it, and the one place that decides so about an error.

Whose fault is it? Of the bundle only if the error speaks of what was sealed: of bytes that were held against their
sealed digest, of what a valid seal says, or of a seal that does not fit a head that is all there. Everything else is a
fault of the way, of this device or of this program: it heals, or people heal it, and the bundle is kept until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, SealError

INCOMPLETE = "bundle.incomplete"
STOPPED = "rebuild.stopped"
Subject = Literal["sealed", "bytes", "device"]
"""What an error speaks of: what is sealed, bytes that may still change, or this device and what it talks to."""


@dataclass(frozen=True)
class Done:
    """Dealt with: its image is here, or the cloud has been told what is missing."""


@dataclass(frozen=True)
class Wait:
    """Something here or on the way has to heal first; nothing is known against the bundle."""

    code: str
    detail: str


@dataclass(frozen=True)
class Refused:
    """It will never be taken as it is."""

    error: ImageDeltaError


Verdict = Done | Wait | Refused
DONE = Done()


def verdict_of(error: Exception, speaks_of: Subject) -> Wait | Refused:
    match error:
        case SealError():  # the checksums in the head fit, so nothing of it is still on its way
            return Refused(error)
        case ContentError() if speaks_of == "sealed":
            return Refused(error)
        case ContentError() if speaks_of == "bytes":
            return Wait(INCOMPLETE, str(error))
        case ContentError():
            return Wait("engine.damaged", str(error))
        case ImageDeltaError():
            return Wait(error.code, str(error))
        case OSError():
            return Wait("disk.failing", str(error))
        case _:
            return Wait("internal", f"{type(error).__name__}: {error}")


def error_of(wait: Wait) -> DependencyError:
    """What waits, in the form in which it is reported."""
    return DependencyError(wait.detail, code=wait.code)
