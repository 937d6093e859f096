"""Where an image lives in the local registry: repository and tag, and the name that people know.

The host of a name plays no part: on the device an image of any registry is asked for as ``REGISTRY/path:tag``. An
image without a name has a repository of ours. Each image has a tag of ours besides its names, because a registry cannot
list what has no tag, and its garbage collection may take it.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagedelta.archives.model import hex_of
from imagedelta.errors import RequestError
from imagedelta.names import archive_name, parse_name

OURS = "imagedelta"
"""First part of the repositories that are ours."""
UNNAMED = f"{OURS}/unnamed"
"""Repository of images without a name."""
INSTALLATION = f"{OURS}/installation"
_TAG_PREFIX = "imagedelta-"
_TAG_DIGITS = 32


@dataclass(frozen=True)
class Location:
    repository: str
    tag: str
    """"" for no name."""


def locate(reference: str) -> Location:
    """Where ``name:tag`` lives; "" has the repository of unnamed images and no tag.

    Raises: RequestError ``request.image_name``.
    """
    if not reference:
        return Location(UNNAMED, "")
    name = parse_name(reference)
    tag = name.tag or ("" if name.digest else "latest")
    if _is_reserved(name.path) or tag.startswith(_TAG_PREFIX):
        raise RequestError(f"{reference!r}: names that begin with {OURS} are the module's own", code="request.image_name")
    return Location(name.path, tag)


def friendly(repository: str, tag: str) -> str:
    """The name that leads back to this tag; "" when none does: the tag is ours, or the path begins like a host."""
    if _is_reserved(repository) or tag.startswith(_TAG_PREFIX):
        return ""
    name = archive_name(f"{repository}:{tag}")
    return name if name and locate(name) == Location(repository, tag) else ""


def own_tag(image_id: str) -> str:
    return _TAG_PREFIX + hex_of(image_id)[:_TAG_DIGITS]


def _is_reserved(repository: str) -> bool:
    return repository == OURS or repository.startswith(f"{OURS}/")
