"""One image of a registry as an argument of a command: which one, and whose logins it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from imagedelta.archives.model import Image
from imagedelta.errors import RequestError
from imagedelta.limits import DEFAULT_LIMITS, Limits
from imagedelta.platforms import parse_platform, runs
from imagedelta_registry.client import Registry
from imagedelta_registry.images import RegistryImages
from imagedelta_registry.login import Login
from imagedelta_registry.manifests import for_machine
from imagedelta_registry.names import RegistryName


@dataclass(frozen=True, slots=True)
class Access:
    """How registries are reached."""

    login_for: Callable[[str], Login]
    """Called with a host when its registry asks for a login."""
    may_be_plain: Callable[[str], bool]
    """Whether ``HOST[:PORT]`` is spoken to without TLS."""
    pause: float = 0.5
    """Seconds before a second try."""

    def registry(self, host: str, address: str) -> Registry:
        """Args:
        host: As logins are kept for it.
        address: To connect to.
        """
        login_for = self.login_for
        return Registry(address, lambda: login_for(host), may_be_plain=self.may_be_plain, pause=self.pause)


@contextmanager
def open_registry_image(
    name: RegistryName, access: Access, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[RegistryImages, Image]]:
    """Find the image and yield it with the place its layers come from.

    Raises: as ``RegistryImages``; RequestError ``request.no_image`` when it is for another platform than was named.
    """
    wanted = parse_platform(name.platform) if name.platform else ""
    with access.registry(name.host, name.address) as registry:
        found = RegistryImages(registry, name, for_machine(wanted), limits)
        (image,) = found.images
        yield found, _for_wanted(name, image, wanted)


def _for_wanted(name: RegistryName, image: Image, wanted: str) -> Image:
    """What a person asks for counts where nothing says what an image is for."""
    if not wanted:
        return image
    if not image.platform:
        return replace(image, platform=wanted)
    if not runs([wanted], image.platform):
        raise RequestError(f"{name} is for {image.platform}, not {wanted}", code="request.no_image")
    return image
