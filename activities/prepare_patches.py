"""Ahead of any order: have the patches built that devices would get, were the images of a registration ordered today.

They are found by the very plan that an order makes, for devices that have the version before: so the sources and the
profile are those that the order will ask for, and its patch is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.records import Device, ImageRecord
from planning.plan import plan_fleet, profile_for, wanted_images
from planning.sources import SourceChooser
from services.deps import Deps
from services.plan_facts import gather_facts, policy_of, read_signatures
from services.store_port import WantedPatch

_DEVICES = 200
"""Of those that have the version before, or of all: so many tell what the common update is."""
_PATCHES = 4
"""Of one image, those that most devices would get."""


@dataclass(frozen=True)
class _NoOrder:
    workstream: str = "default"
    priority: str | None = None


def prepare_patches(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"registrationId"}`` -> ``{"patches": how many are to be built}``."""
    registration = deps.store.images.registration(payload["registrationId"])
    if registration is None or not deps.settings.intake.prepare_patches:
        return {"patches": 0}
    found = deps.store.images.images(sorted(registration.images.values()))
    wanted = [patch for image in found.values() for patch in _patches(deps, image)]
    return {"patches": deps.store.patches.prepare(wanted, deps.now()) if wanted else 0}


def _patches(deps: Deps, image: ImageRecord) -> list[WantedPatch]:
    previous = deps.store.images.previous(image.image_id)
    if previous is None or not image.references:
        return []
    holders = deps.store.images.devices_with(previous, limit=_DEVICES, after=None).items
    active = [device for device in holders if device.state == "active"]
    return _planned(deps, active, image) if active else _for_most(deps, image, previous)


def _planned(deps: Deps, devices: list[Device], image: ImageRecord) -> list[WantedPatch]:
    (wanted,) = wanted_images({image.references[0]: {image.platform: image.image_id}}, {})
    plan = plan_fleet(gather_facts(deps, devices, [wanted]), [wanted], policy_of(deps, _NoOrder()))
    counted = Counter(
        WantedPatch(image.image_id, image.sources, image.profile, image.estimated_bytes)
        for device in plan
        for image in device.images
        if image.sources
    )
    return [patch for patch, _ in counted.most_common(_PATCHES)]


def _for_most(deps: Deps, image: ImageRecord, previous: str) -> list[WantedPatch]:
    """No device has the version before by now: devices will have had it, and get the form that most of them get."""
    signatures, _ = read_signatures(deps, deps.store.images.images([image.image_id, previous]).values())
    if image.image_id not in signatures:
        return []
    profile = _common_profile(deps, image.platform)
    choice = SourceChooser(signatures).choose(image.image_id, frozenset({previous}), None, profile)
    if not choice.sources:
        return []
    return [WantedPatch(image.image_id, choice.sources, profile, choice.estimated_bytes)]


def _common_profile(deps: Deps, platform: str) -> str:
    """Return the form that most devices of a platform get; the default where there is none."""
    policy = policy_of(deps, _NoOrder())
    page = deps.store.devices.list_devices(state="active", hub=None, tag=None, limit=_DEVICES, after=None)
    fleet = [device for device in page.items if device.image_of({platform: ""}) is not None]
    counted = Counter(profile for device in fleet if (profile := profile_for(device, policy)) is not None)
    return counted.most_common(1)[0][0] if counted else deps.settings.default_profile
