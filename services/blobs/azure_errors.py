"""What Azure Storage says went wrong, as errors of ours.

A 404 counts as "not there" only with the storage's own error code: a proxy's page says 404, too, and what is missing
fails for good, while all that is odd is asked again.

Source: learn.microsoft.com/rest/api/storageservices, "Status and error codes" and "Blob service error codes".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from azure.core.exceptions import ClientAuthenticationError

from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, Truncated

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_DELETING_SECONDS = 30
"""At least so long the name of a deleted container is not given again. Source: Delete Container, remarks."""
_MAX_AFTER_SECONDS = 3600


class BlobMissing(ContentError):
    code = "content.missing"


class ContainerMissing(BlobMissing):
    """There is no such container, so no such blob either."""


class ContainerBusy(DependencyError):
    """The container of that name is being deleted: for reading it is gone, for writing it cannot be made yet."""

    code = "dependency.blobs"


class BlobThere(DependencyError):
    """It was to be made only if it was not there. Whoever writes looks at what is there."""

    code = "dependency.blobs"


class BlocksGone(DependencyError):
    """Blocks that were staged are no more: somebody else has made the blob of that name meanwhile."""

    code = "dependency.blobs"


class Busy(DependencyError):
    """No answer, or none now: a moment later there may be one."""

    code = "dependency.blobs"


@contextmanager
def vendor_errors(what: str) -> Iterator[None]:
    """Whatever a call of the SDK raises becomes an error of ours: on an odd answer it fails in ways of its own."""
    try:
        yield
    except ImageDeltaError:
        raise
    except Exception as error:
        raise _ours(what, error) from error


def _ours(what: str, error: Exception) -> ImageDeltaError:
    response: Any = getattr(error, "response", None)
    if response is None:
        return _unanswered(what, error)
    status = int(response.status_code)
    headers = response.headers
    code = str(headers.get("x-ms-error-code") or "")
    said = f"{what}: the storage answered {status} {code}".rstrip()
    if code == "ContainerBeingDeleted":
        return ContainerBusy(said, retry_after=timedelta(seconds=_DELETING_SECONDS))
    if code == "CannotVerifyCopySource":
        return _of_source(what, status, said)
    if status == 404 and code:
        return (ContainerMissing if code == "ContainerNotFound" else BlobMissing)(f"there is no blob {what}")
    if status == 409 and code in ("BlobAlreadyExists", "ContainerAlreadyExists"):
        return BlobThere(said)
    if code in ("InvalidBlockList", "InvalidBlobOrBlock"):
        return BlocksGone(said)
    if status == 412:
        return DependencyError(f"{what} was replaced meanwhile", code="blob.changed")
    if status == 416:
        return Truncated(f"{what} ends before the bytes that were asked for")
    if status in (401, 403) or code == "InvalidAuthenticationInfo":
        return DependencyError(said, code="dependency.blobs_denied")
    after = _after(headers.get("retry-after"))
    return (Busy if status in _BUSY else DependencyError)(said, code="dependency.blobs", retry_after=after)


def _of_source(what: str, status: int, said: str) -> ImageDeltaError:
    """The storage read another blob for us, and ``status`` is what it was told there."""
    if status == 404:
        return BlobMissing(f"{what}: a blob that it is made of is not there")
    if status == 416:
        return Truncated(f"{what}: a blob that it is made of ends early")
    if status in (401, 403):
        return DependencyError(said, code="dependency.blobs_denied")
    return Busy(said)


def _unanswered(what: str, error: Exception) -> DependencyError:
    """Without an answer of the storage an authentication error is one of getting a token."""
    why = str(error).strip().splitlines()
    text = f"{what}: {type(error).__name__} {why[0][:200] if why else ''}".rstrip()
    if isinstance(error, ClientAuthenticationError):
        return DependencyError(text, code="dependency.identity")
    return Busy(text)


def _after(text: str | None) -> timedelta | None:
    """The storage gives seconds."""
    if not text or not text.isdecimal() or len(text) > 9:
        return None
    return timedelta(seconds=min(int(text), _MAX_AFTER_SECONDS))
