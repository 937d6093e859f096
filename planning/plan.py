"""What a deployment set sends to each device, decided from signatures alone.

The same functions serve the dry run and the workflow, so that a plan shown is the plan made. Whether it may be carried
out is another question (planning.guard).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.link_hours import open_share
from contracts.records import Device, DeviceImage
from imagedelta.errors import ImageDeltaError
from imagedelta.names import name_or_none, parse_name
from planning import link_tags
from planning.facts import FleetFacts, Wanted
from planning.priorities import Rule, class_of
from planning.sources import Choice, SourceChooser, Spending

_MAX_NAMED = 8
"""Unregistered images that are named for one image on one device."""


@dataclass(frozen=True)
class Policy:
    """What the order and the settings say."""

    workstream: str
    priority: str | None
    """Overrides the rules."""
    rules: Sequence[Rule]
    recon_repository: str
    """Repository name of the Image Reconstruction module's own image, which is on every device."""
    known_profiles: Sequence[str]
    """Patch profiles that can be built, best first."""
    thin_profiles: Sequence[str] = ()
    """Those that are tried before them where the link is slower than the decoder."""
    thin_link: int = 0
    """Bytes a second below which a link is that; its device's tag ``thin-link``, yes or no, says otherwise."""


@dataclass(frozen=True)
class PlannedImage:
    """One image on one device."""

    reference: str
    image_id: str
    already_present: bool
    sources: tuple[str, ...]
    profile: str
    estimated_bytes: int
    full_bytes: int
    priority: str
    source_references: tuple[str, ...] = ()
    """Names that the first source is registered under."""
    unregistered: tuple[str, ...] = ()
    """Older images of the same repository on the device, which cannot be sources because they are not registered."""

    @property
    def is_full(self) -> bool:
        return not self.already_present and not self.sources


@dataclass(frozen=True)
class PlannedDevice:
    """A device's part of a plan. ``state``: ready (all present), planned, waiting_inventory or failed."""

    device: Device
    state: str
    images: tuple[PlannedImage, ...] = ()
    code: str | None = None
    detail: str | None = None

    @property
    def spending(self) -> Spending:
        total = sum(image.estimated_bytes for image in self.images)
        device = self.device
        price = device.money_per_megabyte
        price = link_tags.money_per_megabyte(device.tags) if price is None else price
        return Spending(total, _rate(device), price, open_share(device.link_hours or ""))


class CannotPlan(ImageDeltaError):
    """A device cannot be planned for; the others can. Words that do not name it are the same for all its likes."""

    code = "plan.impossible"


def plan_fleet(facts: FleetFacts, wanted: Sequence[Wanted], policy: Policy) -> tuple[PlannedDevice, ...]:
    """Plan for every device of ``facts``; one that cannot be planned for does not stop the others."""
    chooser = SourceChooser(facts.signatures)
    return tuple(_plan_device(device, facts, wanted, policy, chooser) for device in facts.devices)


def _plan_device(
    device: Device, facts: FleetFacts, wanted: Sequence[Wanted], policy: Policy, chooser: SourceChooser
) -> PlannedDevice:
    if device.state == "retired":
        return PlannedDevice(device, "failed", code="plan.retired_device", detail="the device is retired")
    if device.state != "active":
        return PlannedDevice(device, "waiting_inventory", code=device.waits_for)
    try:
        profile = _profile(device, policy)
        images = tuple(_plan_images(device, facts, wanted, policy, chooser, profile))
    except CannotPlan as error:
        return PlannedDevice(device, "failed", code=error.code, detail=str(error))
    all_here = all(image.already_present for image in images)
    return PlannedDevice(device, "ready" if all_here else "planned", images)


def _plan_images(
    device: Device,
    facts: FleetFacts,
    wanted: Sequence[Wanted],
    policy: Policy,
    chooser: SourceChooser,
    profile: str,
) -> list[PlannedImage]:
    present = facts.present.get(device.device_id, ())
    here = frozenset(image.image_id for image in present)
    recon = _recon_image(present, facts, policy)
    planned: dict[str, PlannedImage] = {}
    for item in wanted:
        image_id = _image_for(device, item)
        if image_id in planned:
            continue  # two names of one image: it travels once
        if device.device_id in facts.forbidden.get(image_id, ()):
            raise CannotPlan(f"{item.reference} came from no registry that may feed it", code="plan.registry")
        is_here = image_id in here
        refused = facts.refused.get((device.device_id, image_id), frozenset())
        choice = Choice((), 0) if is_here else _choice(facts, image_id, here - refused, recon, chooser, profile)
        planned[image_id] = PlannedImage(
            reference=item.reference,
            image_id=image_id,
            already_present=is_here,
            sources=choice.sources,
            profile=profile,
            estimated_bytes=choice.estimated_bytes,
            full_bytes=facts.images[image_id].full_bytes,
            priority=policy.priority or class_of(policy.rules, policy.workstream, item.modules, device.tags),
            source_references=_names_of(choice.sources[:1], facts),
            unregistered=() if is_here else _unregistered(item, choice.sources, present, facts),
        )
    return list(planned.values())


def _choice(
    facts: FleetFacts,
    image_id: str,
    candidates: frozenset[str],
    recon: str | None,
    chooser: SourceChooser,
    profile: str,
) -> Choice:
    if (unreadable := facts.unreadable.get(image_id)) is not None:
        raise CannotPlan(unreadable.detail, code=unreadable.code)
    return chooser.choose(image_id, candidates, recon if recon in candidates else None, profile)


def _names_of(image_ids: Sequence[str], facts: FleetFacts) -> tuple[str, ...]:
    return tuple(name for image_id in image_ids for name in facts.images[image_id].references)


def _unregistered(
    item: Wanted, sources: Sequence[str], present: Sequence[DeviceImage], facts: FleetFacts
) -> tuple[str, ...]:
    """What would have been a nearer source; () when the patch starts from an image of the repository anyway."""
    repository = parse_name(item.reference).repository
    here = {image.image_id: image.references for image in present}
    names = [*_names_of(sources, facts), *(name for source in sources for name in here.get(source, ()))]
    if any(_repository(name) == repository for name in names):
        return ()
    strange = (name for image in present if image.image_id not in facts.images for name in image.references)
    return tuple(sorted({name for name in strange if _repository(name) == repository}))[:_MAX_NAMED]


def _image_for(device: Device, item: Wanted) -> str:
    image_id = device.image_of(item.by_platform)
    if image_id is None:
        runs, known = " and ".join(device.platforms), ", ".join(sorted(item.by_platform)) or "none"
        raise CannotPlan(f"{item.reference} is not registered for {runs}, only for {known}", code="plan.no_platform")
    return image_id


def _rate(device: Device) -> float | None:
    """Bytes a second that bundles get of its link, None where that is not known."""
    brings = device.bytes_per_second or link_tags.bytes_per_second(device.tags)
    return min((rate for rate in (brings, device.link_rate) if rate), default=None)  # 0 is no limit


def _is_thin(device: Device, policy: Policy) -> bool:
    said, rate = link_tags.is_thin(device.tags), _rate(device)
    return said if said is not None else rate is not None and rate < policy.thin_link


def profile_for(device: Device, policy: Policy) -> str | None:
    """Return the form of the patches that the device gets; ``None`` when it reads none that can be built."""
    thin = policy.thin_profiles if _is_thin(device, policy) else ()
    return next((profile for profile in (*thin, *policy.known_profiles) if profile in device.profiles), None)


def _profile(device: Device, policy: Policy) -> str:
    if (profile := profile_for(device, policy)) is not None:
        return profile
    raise CannotPlan(
        f"the device reads the patch profiles {', '.join(device.profiles) or 'none'}; "
        f"known here: {', '.join(policy.known_profiles)}",
        code="plan.no_profile",
    )


def _recon_image(present: Sequence[DeviceImage], facts: FleetFacts, policy: Policy) -> str | None:
    """The device's newest Image Reconstruction image, by the names that the device or the registration gave."""
    for image in sorted(present, key=lambda item: (item.seen_at, item.image_id), reverse=True):
        record = facts.images.get(image.image_id)
        names = (*image.references, *(record.references if record else ()))
        if record and any(_repository(name) == policy.recon_repository for name in names):
            return image.image_id
    return None


def _repository(name: str) -> str | None:
    """Of a name that a device's own tools gave, which may be none."""
    found = name_or_none(name)
    return found.repository if found else None


def wanted_images(images: Mapping[str, Mapping[str, str]], modules: Mapping[str, Sequence[str]]) -> tuple[Wanted, ...]:
    """From the frozen references of a set and the modules that use them (planning.manifest.modules_by_image)."""
    return tuple(
        Wanted(reference, tuple(modules.get(reference) or (parse_name(reference).repository,)), by_platform)
        for reference, by_platform in images.items()
    )
