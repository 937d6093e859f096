"""What a plan is made from: plain data that somebody has read before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.records import Device, DeviceImage, ImageRecord
from imagedelta.signatures.signature import Signature


@dataclass(frozen=True)
class Wanted:
    """One image that a deployment set names."""

    reference: str
    """Friendly name:tag that it gets on the device."""
    modules: tuple[str, ...]
    """Names under which the manifest starts it; the repository's name for a set without manifest."""
    by_platform: Mapping[str, str]
    """platform -> image ID."""


@dataclass(frozen=True)
class Unreadable:
    """Why the signature of a registered image cannot be used."""

    code: str
    detail: str


@dataclass(frozen=True)
class FleetFacts:
    """Devices, what they have, and what is known of those images."""

    devices: tuple[Device, ...]
    present: Mapping[str, tuple[DeviceImage, ...]]
    """device -> images that an inventory confirmed."""
    images: Mapping[str, ImageRecord]
    """Every wanted image, and every confirmed one that is registered."""
    signatures: Mapping[str, Signature]
    """Of the same images, but for those that are unreadable."""
    refused: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """(device, target image ID) -> sources that the device reported missing."""
    unreadable: Mapping[str, Unreadable] = field(default_factory=dict)
    """Image ID -> why its signature is missing: nothing can be sent of it, and from it."""
    forbidden: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Image ID -> devices that may not have it because of the registry it came from."""
