"""Reading what a plan is made from: devices' images from SQL, signatures from blobs, rules from a file, and which
deployment each device has from its hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from contracts.records import Device, ImageRecord
from imagedelta.delta.format.mixing import native_is_there
from imagedelta.delta.format.profiles import MIXED, PROFILES, THIN
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError
from imagedelta.limits import DEFAULT_LIMITS
from imagedelta.signatures.signature import Signature
from planning import manifest as manifests
from planning.facts import FleetFacts, Unreadable, Wanted
from planning.plan import Policy, wanted_images
from services.deps import Deps
from services.ports import Hub
from services.registries.origin_rules import forbidden
from services.rules_file import read_rules


class Ordered(Protocol):
    """What a request and a stored set both say."""

    @property
    def workstream(self) -> str: ...
    @property
    def priority(self) -> str | None: ...


def policy_of(deps: Deps, ordered: Ordered) -> Policy:
    """Raises: RequestError ``settings.priorities`` when the rules file cannot be used."""
    default = deps.settings.default_profile
    return Policy(
        workstream=ordered.workstream,
        priority=ordered.priority,
        rules=read_rules(deps.settings.priorities_file),
        recon_repository=deps.settings.recon_repository,
        known_profiles=(*_mixing(default, MIXED), default, *_others(default)),
        thin_profiles=_mixing(default, THIN),
        thin_link=deps.settings.thin_link,
    )


def _mixing(profile: str, end: str) -> tuple[str, ...]:
    """The profile with the native coder, if there is one and this machine has the coder."""
    name = f"{profile}{end}"
    return (name,) if name in PROFILES and native_is_there() else ()


def _others(default: str) -> tuple[str, ...]:
    """All others that need no native coder, those of the same format first: who chose the old one gets it."""
    second = PROFILES[default].second_format
    others = [profile for name, profile in PROFILES.items() if name != default and not profile.mixes]
    return tuple(each.name for each in sorted(others, key=lambda each: each.second_format != second))


def wanted_of(images: Mapping[str, Mapping[str, str]], manifest: Mapping[str, Any] | None) -> tuple[Wanted, ...]:
    """From the frozen references of a set and its resolved manifest."""
    return wanted_images(images, manifests.modules_by_image(manifest) if manifest is not None else {})


def gather_facts(
    deps: Deps,
    devices: Sequence[Device],
    wanted: Sequence[Wanted],
    refused: Mapping[tuple[str, str], frozenset[str]] | None = None,
) -> FleetFacts:
    """Raises: DependencyError."""
    present = deps.store.devices.images_on_many([device.device_id for device in devices])
    targets = {image_id for item in wanted for image_id in item.by_platform.values()}
    named = targets | {image.image_id for images in present.values() for image in images}
    images = deps.store.images.images(sorted(named))
    signatures, unreadable = read_signatures(deps, images.values())
    not_for = forbidden(deps, targets, [device.device_id for device in devices])
    return FleetFacts(tuple(devices), present, images, signatures, refused or {}, unreadable, not_for)


def read_signatures(deps: Deps, images: Iterable[ImageRecord]) -> tuple[dict[str, Signature], dict[str, Unreadable]]:
    """An image without its signature is no source, and cannot be sent; it stops no other."""
    found, unreadable = {}, {}
    for image in images:
        try:
            found[image.image_id] = _signature(deps, image.signature)
        except ContentError as error:
            detail = f"the signature of {image.image_id} cannot be read: {error}"
            unreadable[image.image_id] = Unreadable(error.code, detail)
    return found, unreadable


def _signature(deps: Deps, digest: str) -> Signature:
    name = digest.removeprefix("sha256:")
    limit = DEFAULT_LIMITS.max_signature_bytes
    return Signature.from_bytes(deps.blobs.read("signatures", name, 0, limit), DEFAULT_LIMITS)


@dataclass
class Agents:
    """What the hubs said of their devices' deployments."""

    versions: dict[str, int] = field(default_factory=dict)
    """Device -> ``$version`` of $edgeAgent's desired properties; 0 for one that its hub does not know."""
    silent: dict[str, DependencyError] = field(default_factory=dict)
    """Devices whose hub does not answer now."""
    refused: dict[str, ImageDeltaError] = field(default_factory=dict)
    """Devices that alone their hub has no answer for."""


def agents_of(deps: Deps, devices: Iterable[Device]) -> Agents:
    found = Agents()
    of_hub: dict[str, dict[str, str]] = {}
    for device in devices:
        of_hub.setdefault(device.hub, {})[device.device_id] = device.hub_device_id
    for name, identities in sorted(of_hub.items()):
        if (hub := deps.hubs.get(name)) is None:
            found.versions.update(dict.fromkeys(identities, 0))
        else:
            _ask(hub, list(identities), identities, found)
    return found


def _ask(hub: Hub, device_ids: Sequence[str], identities: Mapping[str, str], found: Agents) -> None:
    """One question for all of them; where one device spoils the answer, halves are asked until it is alone."""
    try:
        twins = hub.agents([identities[device_id] for device_id in device_ids])
    except DependencyError as error:
        found.silent.update(dict.fromkeys(device_ids, error))
    except ImageDeltaError as error:
        if len(device_ids) == 1:
            found.refused[device_ids[0]] = error
            return
        middle = len(device_ids) // 2
        _ask(hub, device_ids[:middle], identities, found)
        _ask(hub, device_ids[middle:], identities, found)
    else:
        for device_id in device_ids:
            twin = twins.get(identities[device_id])
            found.versions[device_id] = twin.version if twin is not None else 0
