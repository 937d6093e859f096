"""Platforms of images and devices: one spelling, what documents say together, and which image runs where.

A platform is ``os/architecture[/variant]``, e.g. ``linux/arm/v7``; "" where nothing says what an image is for.

Rules, as containerd has them: other tools' words are read (``aarch64``, ``armhf``, IoT Edge's ``arm32v7``); ``arm`` is
``arm/v7``; ``arm64/v8`` is ``arm64`` and ``amd64/v1`` is ``amd64``; a machine runs what was built for a lower variant
of its own architecture (v7 runs v6 and v5). Unlike containerd, ``arm64`` is not taken to run ``arm``, nor ``amd64``
``386``: not every one does, so a device that does says so.

Source: github.com/containerd/platforms, database.go and compare.go; docs/adr/0014-platforms-are-data-with-rules.md.
"""

from __future__ import annotations

import platform as machine
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imagedelta.errors import ContentError, RequestError

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}(/[A-Za-z0-9][A-Za-z0-9._-]{0,31}){1,2}$"
"""``os/architecture[/variant]`` in any spelling, for schemas."""
_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_VERSION = re.compile(r"v?(\d{1,2})(?:\.(\d{1,2}))?")
_UNSAID = ("", "unknown")
"""BuildKit writes ``unknown`` for what has no platform."""

_SYSTEMS = {"macos": "darwin"}
_ARCHITECTURES: dict[str, tuple[str, str]] = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "arm64v8": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "arm32v7": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v7"),
    "arm32v6": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "arm32v5": ("arm", "v5"),
    "armv5l": ("arm", "v5"),
}
"""Architecture and variant that other tools have another word for; ``uname -m`` among them."""
_KNOWN = {"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}
_DEFAULT_VARIANTS = {"arm": (7, 0), "arm64": (8, 0), "amd64": (1, 0)}


@dataclass(frozen=True, slots=True)
class Stated:
    """What one document says of a platform, in this project's words; "" for what it leaves out."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


NOTHING_STATED = Stated()


def stated(os_name: object, architecture: object, variant: object, what: str) -> Stated:
    """Take what a document says, which may be nothing.

    Raises:
        ContentError: One of them is no word; ``what`` names the document.
    """
    given = {"os": os_name, "architecture": architecture, "variant": variant}
    return _stated(*(_word(value, f"{what}: {field}") for field, value in given.items()))


def settled(*documents: Stated) -> str:
    """Return the platform that documents state together, from the lightest to the heaviest.

    What a heavier document leaves out, a lighter one may say; a variant only for the same architecture. Without an
    operating system it is Linux. Without an architecture the platform is not known: "".
    """
    heaviest = documents[::-1]
    os_name = next((each.os for each in heaviest if each.os), "linux")
    architecture = next((each.architecture for each in heaviest if each.architecture), "")
    same = (each.variant for each in heaviest if each.architecture == architecture)
    return _spelled(os_name, architecture, next(filter(None, same), "")) if architecture else ""


def parse_platform(text: str) -> str:
    """Return what a person wrote (``linux/arm64/v8``, ``arm64``, ``arm32v7``) in the one spelling.

    Raises:
        RequestError: ``request.platform``: it is no platform.
    """
    parts = text.lower().split("/")
    if len(parts) == 1 and (parts[0] in _KNOWN or parts[0] in _ARCHITECTURES):
        parts = ["linux", *parts]
    fits = 2 <= len(parts) <= 3 and all(map(_WORD.fullmatch, parts))
    platform = settled(_stated(*parts)) if fits else ""
    if not platform:
        raise RequestError(f"{text[:100]!r} is no platform", code="request.platform")
    return platform


def parse_platforms(text: str) -> tuple[str, ...]:
    """Return the platforms of a list with commas, best first. Raises: RequestError ``request.platform``."""
    return tuple(dict.fromkeys(parse_platform(part.strip()) for part in text.split(",")))


def machine_platform() -> str:
    """The platform of containers on this machine."""
    return settled(_stated("linux", machine.machine().lower()))


def runs(own: Sequence[str], platform: str) -> bool:
    """Whether a machine that states these platforms runs an image for ``platform``."""
    return best_of(own, [platform]) is not None


def best_of(own: Sequence[str], offered: Iterable[str]) -> str | None:
    """Return which of the ``offered`` platforms a machine should take.

    Args:
        own: What the machine states that it runs, best first.
        offered: Platforms in the one spelling.
    """
    choices = list(offered)
    for stated_one in own:
        fitting = [choice for choice in choices if _fits(stated_one, choice)]
        if fitting:
            return max(fitting, key=lambda choice: (choice == stated_one, _level(choice)))
    return None


def _fits(own: str, choice: str) -> bool:
    """The same system and architecture, and no higher variant; variants that are no versions must be the same."""
    if own == choice:
        return True
    if own.split("/")[:2] != choice.split("/")[:2]:
        return False
    limit, needed = _level(own), _level(choice)
    return limit is not None and needed is not None and needed <= limit


def _level(platform: str) -> tuple[int, int] | None:
    """The version of a variant, comparable within its architecture."""
    _, architecture, *variant = platform.split("/")
    if not variant:
        return _DEFAULT_VARIANTS.get(architecture, (0, 0))
    found = _VERSION.fullmatch(variant[0])
    if found is None:
        return None
    major, minor = int(found[1]), int(found[2] or 0)
    if architecture == "arm64" and major == 9:
        return 8, minor + 5  # Armv9.0 is Armv8.5 and more
    return major, minor


def _word(value: object, what: str) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not _WORD.fullmatch(value.lower()):
        raise ContentError(f"{what} is {str(value)[:100]!r}, which names no platform")
    return value.lower()


def _stated(os_name: str, architecture: str, variant: str = "") -> Stated:
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    os_name, architecture, variant = (
        "" if word in _UNSAID else word for word in (_SYSTEMS.get(os_name, os_name), architecture, variant or implied)
    )
    return Stated(os_name, architecture, variant)


def _spelled(os_name: str, architecture: str, variant: str) -> str:
    found = _VERSION.fullmatch(variant)
    if found:
        variant = f"v{int(found[1])}" + (f".{int(found[2])}" if int(found[2] or 0) else "")
    if architecture == "arm" and not variant:
        variant = "v7"
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    return "/".join(filter(None, (os_name, architecture, variant)))
