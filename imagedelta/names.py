"""Names and IDs of images: one grammar and one spelling, wherever they are read, stored or compared.

The spelling is the one that Docker prints: without ``docker.io/`` and ``library/``, and with ``:latest`` where neither
tag nor digest is given. So ``app``, ``app:latest`` and ``docker.io/library/app:latest`` are one name.

Source: github.com/distribution/reference, reference.go and normalize.go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imagedelta.errors import RequestError

DOCKER_HUB = "docker.io"
MAX_NAME = 255
"""Characters of a whole name, tag and digest included."""

_HUB_HOSTS = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_ADDRESS = rf"(?:\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)(?::{_PORT})?"
_DOTLESS = r"[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*"
PATTERN = (
    rf"^(?:{_ADDRESS}/{_PATH.pattern}|{_DOTLESS}/{_PATH.pattern}|{_PART})"
    rf"(?::{_TAG.pattern})?(?:@{_DIGEST.pattern})?$"
)
"""The names that ``parse_name`` takes, for schemas: a first part with a dot is a host."""
ADDRESS_PATTERN = rf"^{_ADDRESS}(?:/{_PATH.pattern})?$"
"""``HOST[:PORT]`` of a registry, with a path below which its images are."""
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")


@dataclass(frozen=True, slots=True)
class ImageName:
    """``host/path:tag@digest``, taken apart. ``str()`` gives the one spelling."""

    host: str
    """``HOST[:PORT]``; "" for Docker Hub."""
    path: str
    """Without the ``library/`` of Docker Hub."""
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """The last part of the path: ``app`` of ``fleet.example/propulsion/app:2``."""
        return self.path.rpartition("/")[2]

    @property
    def tagged(self) -> str:
        """What a tool may tag an image with, "" for a name by digest alone."""
        return str(ImageName(self.host, self.path, self.tag)) if self.tag or not self.digest else ""

    def __str__(self) -> str:
        tag = self.tag or ("" if self.digest else "latest")
        return (
            (f"{self.host}/" if self.host else "")
            + self.path
            + (f":{tag}" if tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )


def parse_name(text: str) -> ImageName:
    """Take a name apart.

    Raises:
        RequestError: ``request.image_name``: it is none; the message says which part is wrong.
    """
    host, rest = _split_host(text)
    name = name_in(host, rest, text)
    if not (host or name.tag or name.digest) and len(name.path) == 64 and _ID.fullmatch(name.path):
        raise _wrong(text, "that is an image ID, not a name")
    return name


def name_in(host: str, rest: str, text: str) -> ImageName:
    """Take ``PATH[:TAG][@DIGEST]`` in a registry apart; ``text`` is what a person wrote. Raises: see ``parse_name``."""
    path, at, digest = rest.partition("@")
    path, colon, tag = path.partition(":")
    if len(text) > MAX_NAME:
        raise _wrong(text, f"longer than {MAX_NAME} characters")
    if host and not is_host(host):
        raise _wrong(text, f"{host!r} is not HOST or HOST:PORT")
    _check_path(path, text)
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"{tag!r} is not a tag (letters, digits, . _ - and 128 characters at most)")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, f"{digest!r} is not sha256: and 64 hex digits")
    return ImageName(*_without_hub(host, path), tag, digest)


def spelled(text: str) -> str:
    """Return a name in the one spelling. Raises: RequestError ``request.image_name``."""
    return str(parse_name(text))


def name_or_none(text: str) -> ImageName | None:
    """Take a name apart that another tool gave, which may be anything."""
    try:
        return parse_name(text)
    except RequestError:
        return None


def archive_name(text: str) -> str | None:
    """Return what an archive calls its image, in the one spelling, if that is a name with a tag or digest.

    ``None`` for anything else: many tools note a bare tag (``latest``), some a version or a folder.
    """
    name = name_or_none(text)
    return str(name) if name and (name.tag or name.digest) else None


def is_host(text: str) -> bool:
    """Whether ``text`` is ``HOST`` or ``HOST:PORT``."""
    found = _HOST.fullmatch(text) if len(text) <= MAX_NAME else None
    return found is not None and (found["port"] is None or 0 < int(found["port"]) < 65536)


def id_prefix(text: str) -> str | None:
    """Return ``sha256:`` and the digits of an image ID, whole or its first 12 digits or more; ``None`` for others."""
    found = _ID.fullmatch(text)
    return f"sha256:{found[1]}" if found else None


def is_hub(host: str) -> bool:
    """Whether a registry's host is one of the names of Docker Hub."""
    return host in _HUB_HOSTS


def _check_path(path: str, text: str) -> None:
    if not path:
        raise _wrong(text, "the name is missing")
    if path != path.lower():
        raise _wrong(text, f"{path!r} has capital letters; only tags may")
    if not _PATH.fullmatch(path):
        raise _wrong(text, f"{path!r} is not a repository (lower-case letters, digits and . _ - / between them)")


def _split_host(text: str) -> tuple[str, str]:
    """Rule: the first part is a host if it could be no path (a dot, a port, a capital letter) or is ``localhost``."""
    first, slash, rest = text.partition("/")
    is_a_host = slash and (set(first) & set(".:[@") or first == "localhost" or first != first.lower())
    return (first, rest) if is_a_host else ("", text)


def _without_hub(host: str, path: str) -> tuple[str, str]:
    if host and not is_hub(host):
        return host, path
    first, slash, rest = path.partition("/")
    return "", rest if slash and first == "library" and "/" not in rest else path


def _wrong(text: str, problem: str) -> RequestError:
    return RequestError(f"{text[:300]!r} is no image name: {problem}", code="request.image_name")
