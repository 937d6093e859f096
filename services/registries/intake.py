"""One registry that images are registered from: the shared client, with who this app is and deadlines that end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imagedelta.limits import Limits
from imagedelta.names import DOCKER_HUB
from imagedelta_registry.acr import AcrLogin
from imagedelta_registry.client import Registry
from imagedelta_registry.images import RegistryImages
from imagedelta_registry.login import NO_LOGIN, AskLogin, Login
from imagedelta_registry.manifests import for_machines
from imagedelta_registry.names import RegistryName, is_loopback, parse_registry_name
from services.http_bounded import bounded_client
from services.registries.settings import RegistrySettings


class IntakeRegistry:
    """Implements services.ports.Registry."""

    def __init__(
        self, settings: RegistrySettings, identity_token: Callable[[str], str], limits: Limits, *, pause: float = 0.5
    ) -> None:
        """Args:
        identity_token: Called with a scope of Entra ID, for a registry that takes the app's identity.
        pause: Seconds before a second try.
        """
        self._limits = limits
        address = RegistryName(settings.host or DOCKER_HUB, "", "").address
        client = bounded_client(proxies=not is_loopback(address))

        def may_be_plain(other: str) -> bool:
            return is_loopback(other) or (settings.is_insecure and other == address)

        login: AskLogin
        if settings.login == "identity":
            login = AcrLogin(address, client, identity_token)
        else:
            known = Login(settings.user, settings.password) if settings.login == "password" else NO_LOGIN
            login = lambda: known  # noqa: E731 - one of two ways to ask
        self._registry = Registry(address, login, may_be_plain=may_be_plain, pause=pause, client=client)

    def open(self, reference: str, machines: Sequence[Sequence[str]]) -> RegistryImages:
        return RegistryImages(self._registry, parse_registry_name(reference), for_machines(machines), self._limits)
