"""Errors with a stable code: what went wrong, whether trying again can help, what to do.

Codes are stored in SQL, sent in reports and alerted on, so a code is never reused for another meaning. Each is
explained in the room that raises it (its ``codes.py``); those of the classes below, and those that several rooms
raise, are explained here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta


class ImageDeltaError(Exception):
    """Base of everything this project raises on purpose."""

    code = "internal"
    retryable = False

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Args:
        message: Names what is wrong, with the offending name or number.
        code: One that is explained; the class's own code when omitted.
        """
        super().__init__(message)
        self.code = code or type(self).code

    @property
    def remedy(self) -> str:
        """What the reader of this error can do about it."""
        return REMEDIES.get(self.code, REMEDIES["internal"])


class RequestError(ImageDeltaError):
    """The caller asked for something impossible.

    ``status`` is the HTTP status it becomes. 422 unless said otherwise: the request is well-formed, yet what it
    asks for cannot be; 400 is only for what contradicts the OpenAPI document.
    """

    code = "request.invalid"

    def __init__(self, message: str, *, code: str | None = None, status: int = 422) -> None:
        super().__init__(message, code=code)
        self.status = status


class ContentError(ImageDeltaError):
    """Bytes are wrong, and will be wrong again: never retried."""

    code = "content.invalid"


class Truncated(ContentError):
    """The bytes end before what they are said to be does."""

    code = "content.truncated"


class LimitExceeded(ContentError):
    """A declared or real size is over its limit; nothing was allocated for it."""

    code = "content.limit_exceeded"


class DigestMismatch(ContentError):
    """Bytes do not have the digest they were promised to have."""

    code = "content.digest_mismatch"


class UnsafePath(ContentError):
    """A name inside an archive or bundle would leave its folder."""

    code = "content.unsafe_path"


class UnsupportedFormat(ContentError):
    """A version, coder or form that this reader does not know."""

    code = "content.unsupported"


class SourceMissing(ContentError):
    """A layer that a patch starts from is not on this device: the cloud plans anew with another source."""

    code = "source.missing"


class SealError(ContentError):
    """A bundle is unsealed, sealed by an unknown key, or its seal does not fit its content."""

    code = "seal.invalid"


class DependencyError(ImageDeltaError):
    """Storage, SQL, registry, hub or mail server did not answer; trying again can help."""

    code = "dependency.unavailable"
    retryable = True

    def __init__(self, message: str, *, code: str | None = None, retry_after: timedelta | None = None) -> None:
        """Args:
        retry_after: How long it asks to be left alone; None when it does not say.
        """
        super().__init__(message, code=code)
        self.retry_after = retry_after


REMEDIES: dict[str, str] = {
    "internal": "This is a defect of imagedelta: report it with the log around it.",
    "request.invalid": "Correct the named field and send the request again.",
    "content.invalid": "The message says what is wrong with the file: make or fetch it again.",
    "content.truncated": "The file was cut short: transfer or save it again.",
    "content.limit_exceeded": "Check that it is what you meant to send. A limit that the message names can be raised: "
    "--limit NAME=NUMBER on the command line, IMAGEDELTA_LIMITS in the cloud's settings.",
    "content.digest_mismatch": "The bytes were damaged or exchanged on the way: fetch or build them again.",
    "content.unsafe_path": "The archive names a path outside its folder: do not trust where it came from.",
    "content.unsupported": "Use a newer imagedelta to read it, or an older one to write it.",
    "source.missing": "Give the image the patch starts from, or ask for a bundle from a source that is there.",
    "seal.invalid": "Seal the bundle with a key that the device trusts, and check who made it.",
    "request.image_name": "Write it as [HOST[:PORT]/]PATH[:TAG], e.g. app:1 or fleet.example/team/app:1, in lower case "
    "but for the tag.",
    "request.platform": "Write it as os/architecture[/variant], e.g. linux/arm64 or linux/arm/v7.",
    "request.no_platform": "Say what the image is for with --platform os/architecture[/variant], e.g. linux/arm64.",
    "request.no_reference": "Give the image a name with --reference NAME:TAG.",
    "request.ambiguous_id": "Give more digits of the image ID.",
    "dependency.unavailable": "Nothing to do: it is tried again by itself. Look at the service if this lasts.",
    "request.too_large": "Send less: request bodies are small, archives go to the URL that POST /api/uploads gives.",
    "dependency.hub": "Nothing to do: it is tried again. Look at the IoT Hub and its connection string if this lasts.",
}
"""Code → what its reader can do. Complete once every room of a process is imported; a test checks that."""


def explain(remedies: Mapping[str, str]) -> None:
    """Add the codes of a room.

    Raises:
        ValueError: A code has another explanation already.
    """
    for code, remedy in remedies.items():
        if REMEDIES.setdefault(code, remedy) != remedy:
            raise ValueError(f"the code {code} is explained twice")
