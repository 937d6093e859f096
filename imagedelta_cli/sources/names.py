"""Names of images in registries: ``registry://HOST[:PORT]/REPOSITORY[:TAG|@DIGEST][#PLATFORM]``, read strictly.

Source: OCI distribution-spec 1.1, "Pulling manifests"; github.com/distribution/reference for Docker Hub's defaults.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from imagedelta.errors import RequestError

REGISTRY = "registry://"
DOCKER = "docker://"

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_NAME = 255

DOCKER_HUB = "docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
_HUB_ADDRESS = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class RegistryName:
    """An image in a registry."""

    host: str
    """As images are named after it: ``HOST`` or ``HOST:PORT``; ``docker.io`` for Docker Hub."""
    repository: str
    reference: str
    """A tag, or ``sha256:…``, the digest of a manifest or image index."""
    platform: str = ""
    """``os/architecture[/variant]``, "" when the argument does not say."""

    @property
    def address(self) -> str:
        """``HOST[:PORT]`` to connect to."""
        return _HUB_ADDRESS if self.host == DOCKER_HUB else self.host

    @property
    def by_digest(self) -> bool:
        return self.reference.startswith("sha256:")

    @property
    def tagged(self) -> str:
        """The name Docker gives the image after a pull, "" when it was named by digest alone."""
        return "" if self.by_digest else f"{self.host}/{self.repository}:{self.reference}"

    def __str__(self) -> str:
        separator = "@" if self.by_digest else ":"
        return f"{self.host}/{self.repository}{separator}{self.reference}"


def parse_registry_name(argument: str) -> RegistryName:
    """Read an argument that starts with ``registry://``; without tag and digest it means ``latest``.

    Raises:
        RequestError: ``request.no_image``: it is no such name; the message says which part is wrong.
    """
    name, _, platform = argument.removeprefix(REGISTRY).partition("#")
    host, slash, path = name.partition("/")
    if not slash or not _is_host(host):
        raise _wrong(argument, f"{host!r} is not HOST or HOST:PORT")
    path, at, digest = path.partition("@")
    repository, colon, tag = path.partition(":")
    host, repository = _with_hub_defaults(host, repository)
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_NAME:
        raise _wrong(argument, f"{repository!r} is not a repository (lower-case letters, digits, . _ - /)")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(argument, f"{tag!r} is not a tag")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(argument, f"{digest!r} is not sha256: and 64 hex digits")
    return RegistryName(host, repository, digest or tag or "latest", platform)


def is_loopback(address: str) -> bool:
    """Whether ``HOST[:PORT]`` is this machine, where registries speak plain http."""
    host = host_of(address)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """``HOST[:PORT]`` without the port and the brackets of IPv6."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0]


def is_registry_address(text: str) -> bool:
    """Whether ``text`` is ``HOST`` or ``HOST:PORT``."""
    return _is_host(text)


def _is_host(host: str) -> bool:
    if not _HOST.fullmatch(host) or len(host) > _MAX_NAME:
        return False
    port = host.rpartition(":")[2] if re.search(r":\d+$", host) and not host.endswith("]") else ""
    return not port or 0 < int(port) < 65536


def _with_hub_defaults(host: str, repository: str) -> tuple[str, str]:
    if host not in _HUB_NAMES:
        return host, repository
    return DOCKER_HUB, repository if "/" in repository else f"library/{repository}"


def _wrong(argument: str, problem: str) -> RequestError:
    return RequestError(f"{argument[:300]}: {problem}", code="request.no_image")
