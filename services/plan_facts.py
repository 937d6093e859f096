"""Reading what a plan is made from: devices' images from SQL, signatures from blobs, rules from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Protocol

from contracts.records import Device, ImageRecord
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.errors import ContentError
from imagedelta.limits import DEFAULT_LIMITS
from imagedelta.signatures.signature import Signature
from planning import manifest as manifests
from planning.facts import FleetFacts, Wanted
from planning.plan import Policy, wanted_images
from services.deps import Deps
from services.rules_file import read_rules


class Ordered(Protocol):
    """What a request and a stored set both say."""

    @property
    def workstream(self) -> str: ...
    @property
    def priority(self) -> str | None: ...
    @property
    def allow_full_bundles(self) -> bool: ...
    @property
    def max_bytes_per_device(self) -> int | None: ...
    @property
    def max_bytes(self) -> int | None: ...


def policy_of(deps: Deps, ordered: Ordered) -> Policy:
    """Raises: RequestError ``settings.priorities`` when the rules file cannot be used."""
    default = deps.settings.default_profile
    return Policy(
        workstream=ordered.workstream,
        priority=ordered.priority,
        rules=read_rules(deps.settings.priorities_file),
        recon_repository=deps.settings.recon_repository,
        known_profiles=(default, *(name for name in PROFILES if name != default)),
        allow_full_bundles=ordered.allow_full_bundles,
        max_bytes_per_device=ordered.max_bytes_per_device,
        max_bytes=ordered.max_bytes,
    )


def wanted_of(images: Mapping[str, Mapping[str, str]], manifest: Mapping[str, Any] | None) -> tuple[Wanted, ...]:
    """From the frozen references of a set and its resolved manifest."""
    return wanted_images(images, manifests.modules_by_image(manifest) if manifest is not None else {})


def gather_facts(
    deps: Deps,
    devices: Sequence[Device],
    wanted: Sequence[Wanted],
    refused: Mapping[tuple[str, str], frozenset[str]] | None = None,
) -> FleetFacts:
    """Raises: DependencyError; ContentError when the stored signature of a wanted image is damaged or gone."""
    present = deps.store.devices.images_on_many([device.device_id for device in devices])
    targets = {image_id for item in wanted for image_id in item.by_platform.values()}
    named = targets | {image.image_id for images in present.values() for image in images}
    images = deps.store.images.images(sorted(named))
    return FleetFacts(tuple(devices), present, images, _signatures(deps, images.values(), targets), refused or {})


def _signatures(deps: Deps, images: Iterable[ImageRecord], targets: Set[str]) -> dict[str, Signature]:
    """An image that only happens to be on a device is no source without its signature; it stops no plan."""
    found = {}
    for image in images:
        try:
            found[image.image_id] = _signature(deps, image.signature)
        except ContentError:
            if image.image_id in targets:
                raise
    return found


def _signature(deps: Deps, digest: str) -> Signature:
    name = digest.removeprefix("sha256:")
    limit = DEFAULT_LIMITS.max_signature_bytes
    return Signature.from_bytes(deps.blobs.read("signatures", name, 0, limit), DEFAULT_LIMITS)
