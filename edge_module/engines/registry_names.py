"""Where an image lives in the local registry: repository and tag, and the name that people know.

The host of a name plays no part in that: on the device an image of any registry is asked for as ``REGISTRY/path:tag``.
It is noted in a file, so that the image is listed as people know it. An image without a name has a repository of ours.
Each image has a tag of ours besides its names, because a registry cannot list what has no tag, and its garbage
collection may take it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edge_module.damage import read_own
from edge_module.files import Files, write_atomically
from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.model import hex_of
from imagedelta.errors import ContentError, RequestError
from imagedelta.limits import MIB
from imagedelta.names import archive_name, parse_name

OURS = "imagedelta"
"""First part of the repositories that are ours."""
UNNAMED = f"{OURS}/unnamed"
"""Repository of images without a name."""
INSTALLATION = f"{OURS}/installation"
_TAG_PREFIX = "imagedelta-"
_TAG_DIGITS = 32
_FOLDER = "registry"
_FILE = f"{_FOLDER}/names.json"
_MAX_BYTES = 4 * MIB
log = logging.getLogger("imagedelta.registry")


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
        raise RequestError(
            f"{reference!r}: names that begin with {OURS} are the module's own", code="request.image_name"
        )
    return Location(name.path, tag)


class Names:
    """The names that tags stand for; a name with a host is known by having been given."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def reader(self) -> Callable[[str, str], str]:
        """(repository, tag) -> the name that leads there, as it was given.

        "" when none does: the tag is ours, or its path begins like a host.
        """
        given = self._given()

        def name_of(repository: str, tag: str) -> str:
            if _is_reserved(repository) or tag.startswith(_TAG_PREFIX):
                return ""
            plain = f"{repository}:{tag}"
            name = given.get(plain) or archive_name(plain)
            return name if name and _leads_to(name, repository, tag) else ""

        return name_of

    def give(self, reference: str, tags: Iterable[tuple[str, str]]) -> None:
        """Note what a tag is called from now on.

        Args:
            tags: (repository, tag) of all there are: notes of others are dropped.
        """
        where = locate(reference)
        given = self._given()
        present = {f"{repository}:{tag}" for repository, tag in tags}
        kept = {plain: name for plain, name in given.items() if plain in present}
        kept[f"{where.repository}:{where.tag}"] = str(parse_name(reference))
        if kept != given:
            self._files.make_folders(_FOLDER)
            write_atomically(self._files, _FILE, json.dumps(kept, sort_keys=True).encode())

    def _given(self) -> dict[str, str]:
        try:
            found = parse_object(read_own(self._files, _FILE, _MAX_BYTES) or b"{}", _FILE)
        except ContentError as error:
            log.error("names are shown without their hosts: %s", error)
            return {}
        return {plain: name for plain, name in found.items() if isinstance(name, str)}


def own_tag(image_id: str) -> str:
    return _TAG_PREFIX + hex_of(image_id)[:_TAG_DIGITS]


def _is_reserved(repository: str) -> bool:
    return repository == OURS or repository.startswith(f"{OURS}/")


def _leads_to(name: str, repository: str, tag: str) -> bool:
    try:
        return locate(name) == Location(repository, tag)
    except RequestError:
        return False
