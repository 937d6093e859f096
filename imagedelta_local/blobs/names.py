"""Names of containers and blobs, and the files they stand for: never outside the folder, never a hidden file."""

from __future__ import annotations

import re
from pathlib import Path

_CONTAINER = re.compile(r"[a-z0-9](?:[a-z0-9]|-(?=[a-z0-9])){2,62}|\$root|\$web")
_MAX_NAME = 1024
_MAX_PART_BYTES = 255


class BadName(Exception):
    """A container or blob name that is not served."""


def container_folder(root: Path, container: str) -> Path:
    """The folder of a container.

    Raises:
        BadName: Not 3 to 63 lower-case letters, digits and single hyphens.
    """
    if not _CONTAINER.fullmatch(container):
        raise BadName(f"{container!r} is no container name")
    return root / container


def blob_file(root: Path, container: str, name: str) -> Path:
    """The file of a blob; ``name`` is decoded.

    Raises:
        BadName: The name is too long, or has a part that is empty, hidden, temporary or ``..``.
    """
    folder = container_folder(root, container)
    parts = name.split("/")
    if len(name) > _MAX_NAME or not all(_is_visible_part(part) for part in parts):
        raise BadName(f"{name!r} is no blob name")
    return folder.joinpath(*parts)


def is_visible(name: str) -> bool:
    """Whether a blob of this name is shown; temporary and hidden files are not."""
    return all(_is_visible_part(part) for part in name.split("/"))


def _is_visible_part(part: str) -> bool:
    if not part or part.startswith(".") or part.endswith(".tmp") or len(part.encode()) > _MAX_PART_BYTES:
        return False
    return "\\" not in part and all(ord(letter) >= 32 and letter != "\x7f" for letter in part)
