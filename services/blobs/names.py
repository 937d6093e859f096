"""Names of containers and blobs that every storage takes: a folder, Azure, and whatever carries an outbox to a ship."""

from __future__ import annotations

import re

from imagedelta.errors import RequestError

_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


def check_container(container: str) -> None:
    """Raises: RequestError ``request.blob_name`` unless it is 3 to 63 of a-z, 0-9 and single dashes."""
    if not _CONTAINER.fullmatch(container):
        raise RequestError(f"{container!r} is not a name of a container", code="request.blob_name")


def check_name(container: str, name: str) -> None:
    """Raises: RequestError ``request.blob_name`` for a name that could mean something else to a file system."""
    check_container(container)
    if not _NAME.fullmatch(name):
        raise RequestError(f"{name!r} is not a name of a blob", code="request.blob_name")
