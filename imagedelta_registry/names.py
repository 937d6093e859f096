"""Names of images in registries: ``registry://HOST[:PORT]/REPOSITORY[:TAG|@DIGEST][#PLATFORM]``, read strictly.

Source: OCI distribution-spec 1.1, "Pulling manifests"; github.com/distribution/reference for Docker Hub's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from imagedelta.errors import RequestError
from imagedelta.names import DOCKER_HUB, is_host, is_hub, name_in

REGISTRY = "registry://"
DOCKER = "docker://"

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
        return "" if self.by_digest else str(name_in(self.host, f"{self.repository}:{self.reference}", str(self)))

    def __str__(self) -> str:
        separator = "@" if self.by_digest else ":"
        return f"{self.host}/{self.repository}{separator}{self.reference}"


def parse_registry_name(argument: str) -> RegistryName:
    """Read an argument that starts with ``registry://``; without tag and digest it means ``latest``.

    Raises:
        RequestError: ``request.no_image``: it is no such name; the message says which part is wrong.
    """
    name, _, platform = argument.removeprefix(REGISTRY).partition("#")
    host, slash, rest = name.partition("/")
    if not slash or not is_host(host):
        raise _wrong(argument, f"{host!r} is not HOST or HOST:PORT")
    try:
        found = name_in(host, rest, name)
    except RequestError as error:
        raise _wrong(argument, str(error)) from None
    if is_hub(host):
        host, path = DOCKER_HUB, found.path if "/" in found.path else f"library/{found.path}"
    else:
        path = found.path
    return RegistryName(host, path, found.digest or found.tag or "latest", platform)


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


def _wrong(argument: str, problem: str) -> RequestError:
    return RequestError(f"{argument[:300]}: {problem}", code="request.no_image")
