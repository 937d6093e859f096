"""Settings of where images come from: registries, what they may feed, and what happens when one is registered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from contracts.records import ARCHIVE
from imagedelta.errors import RequestError
from imagedelta.names import is_hub, parse_name
from services.setting_values import Values

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_AZURE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.azurecr\.(?:io|cn|us)")
_LEAST_SECRET = 16
_LOGINS = ("identity", "password", "none")


@dataclass(frozen=True)
class RegistrySettings:
    """A registry that images may be registered from, or the part of one below a path."""

    name: str
    host: str
    """``HOST[:PORT]``, as images are named after it; "" for Docker Hub."""
    path: str
    """"" for all of it."""
    login: str
    """``identity``, ``password`` or ``none``."""
    user: str
    password: str = field(repr=False)
    is_insecure: bool
    """Without TLS."""
    devices: str
    """Tag query of those that it may feed; "" for all."""
    automatic: tuple[str, ...]
    """Patterns of repositories whose pushed images are registered by themselves."""

    def has(self, reference: str) -> bool:
        name = parse_name(reference)
        return name.host == self.host and f"{name.path}/".startswith(f"{self.path}/" if self.path else "")

    def takes_by_itself(self, repository: str) -> bool:
        return any(fnmatchcase(repository, pattern) for pattern in self.automatic)


@dataclass(frozen=True)
class IntakeSettings:
    registries: Mapping[str, RegistrySettings]
    archive_devices: str
    """Tag query of the devices that images registered from archives may be sent to; "" for all."""
    all_platforms: bool
    """Of an image for several platforms all are registered, not just those that enrolled devices run."""
    hook_secret: str = field(repr=False)
    """What registries must show when they tell of a push; "" when none may tell."""
    prepare_patches: bool
    """When an image is registered, the patch that devices will need for it is built, before anybody orders it."""

    @property
    def rules(self) -> Mapping[str, str]:
        """Where images come from -> tag query of the devices that may have them; empty when all may have all."""
        rules = {ARCHIVE: self.archive_devices, **{each.name: each.devices for each in self.registries.values()}}
        return rules if any(rules.values()) else {}

    def registry_of(self, reference: str) -> RegistrySettings:
        """Raises: RequestError ``request.unknown_registry``: images of any other place are not fetched."""
        fitting = [each for each in self.registries.values() if each.has(reference)]
        if not fitting:
            known = ", ".join(self.registries) or "none is configured"
            raise RequestError(
                f"{reference} is in no registry that images are registered from ({known})",
                code="request.unknown_registry",
            )
        return max(fitting, key=lambda each: len(each.path))


def read_intake(read: Values) -> IntakeSettings:
    return IntakeSettings(
        registries=_registries(read),
        archive_devices=read.text("IMAGEDELTA_ARCHIVE_DEVICES"),
        all_platforms=read.choice("IMAGEDELTA_IMAGE_PLATFORMS", "fleet", ("fleet", "all")) == "all",
        hook_secret=_hook_secret(read),
        prepare_patches=read.choice("IMAGEDELTA_PREPARE_PATCHES", "true", ("true", "false")) == "true",
    )


def registry_variable(name: str, what: str) -> str:
    return f"IMAGEDELTA_REGISTRY_{name.upper().replace('-', '_')}_{what}"


def _registries(read: Values) -> dict[str, RegistrySettings]:
    listed = "IMAGEDELTA_REGISTRIES"
    names = [name.strip() for name in read.text(listed).split(",") if name.strip()]
    for name, times in Counter(names).items():
        if not _NAME.fullmatch(name) or name == ARCHIVE:
            read.wrong(listed, f"holds {name[:60]!r}: a name is 1 to 32 of a-z, 0-9 and dashes, and not {ARCHIVE}")
        elif times > 1:
            read.wrong(listed, f"holds {name} twice")
    found = {name: _registry(read, name) for name in dict.fromkeys(names) if _NAME.fullmatch(name)}
    places = Counter((each.host, each.path) for each in found.values() if each.host or each.path)
    for (host, path), times in places.items():
        if times > 1:
            read.wrong(listed, f"names {host}/{path} under {times} names: images of it would be of both")
    return found


def _registry(read: Values, name: str) -> RegistrySettings:
    host, path = _place(read, name)
    user = read.text(registry_variable(name, "USER"))
    automatic = read.text(registry_variable(name, "AUTOMATIC"))
    return RegistrySettings(
        name=name,
        host=host,
        path=path,
        login=_login(read, name, host, user),
        user=user,
        password=read.text(registry_variable(name, "PASSWORD")),
        is_insecure=read.truth(registry_variable(name, "INSECURE")),
        devices=read.text(registry_variable(name, "DEVICES")),
        automatic=tuple(part.strip() for part in automatic.split(",") if part.strip()),
    )


def _hook_secret(read: Values) -> str:
    name = "IMAGEDELTA_HOOK_SECRET"
    secret = read.text(name)
    if secret and len(secret) < _LEAST_SECRET:
        read.wrong(name, f"has fewer than {_LEAST_SECRET} characters: `openssl rand -hex 32` makes a good one")
    return secret


def _place(read: Values, name: str) -> tuple[str, str]:
    """``HOST[:PORT][/PATH]``, as the names of its images begin."""
    variable = registry_variable(name, "HOST")
    text = read.text(variable)
    host, _, path = text.partition("/")
    if not text:
        read.wrong(variable, f"is not set: give HOST[:PORT] of registry {name}, with a path if only that is meant")
        return "", ""
    try:
        sample = parse_name(f"{host}/{path or 'any'}")
    except RequestError as error:
        read.wrong(variable, f"is no HOST[:PORT][/PATH]: {error}")
        return "", ""
    if not sample.host and not is_hub(host):
        read.wrong(variable, f"must begin with HOST[:PORT], which {host!r} is not")
    return sample.host, path


def _login(read: Values, name: str, host: str, user: str) -> str:
    """An identity where Azure takes one, unless a user is given."""
    variable = registry_variable(name, "LOGIN")
    usual = "password" if user else "identity" if _AZURE.fullmatch(host) else "none"
    login = read.choice(variable, usual, _LOGINS)
    if login == "password" and not (user and read.text(registry_variable(name, "PASSWORD"))):
        read.wrong(variable, f"is password: set {registry_variable(name, 'USER')} and …_PASSWORD")
    return login
