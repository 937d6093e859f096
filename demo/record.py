"""What a run of the demo leaves behind: plain facts, read back at the end, that checks and report work on.

Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from demo.mail_sink import ReceivedMail

Lane = Literal["cloud"] | str


@dataclass(frozen=True)
class TransferFact:
    """One image to one device, as SQL has it, and whether the device's own store really holds it."""

    transfer_id: str
    device: str
    image: str
    image_id: str
    source: str | None
    """Reference of the image the patch starts from; None for a full bundle."""
    patch_id: str | None
    full_bytes: int
    pull_bytes: int
    """Compressed layers that the device lacks, and the config: what ``docker pull`` would have moved."""
    estimated_bytes: int | None
    bundle_bytes: int
    seconds_on_link: float | None
    state: str
    verified: bool
    """Every layer and the config in the device's store were hashed at the end and are the image."""

    @property
    def share(self) -> float:
        """Bundle bytes over full bytes."""
        return self.bundle_bytes / self.full_bytes

    @property
    def share_of_pull(self) -> float:
        """Bundle bytes over what a pull would have moved."""
        return self.bundle_bytes / self.pull_bytes


@dataclass(frozen=True)
class ReleaseFact:
    """A manifest on one device, as its hub has it."""

    device: str
    hub: str
    times_set: int
    """How often the hub was told to set content on this device."""
    images: Mapping[str, str]
    """module -> image, rewritten and pinned."""
    content: Mapping[str, Any]


@dataclass(frozen=True)
class DeviceFact:
    device: str
    hub: str
    images_before: tuple[str, ...]
    images_after: tuple[str, ...]
    member_state: str
    link_bytes: int
    """Everything that came down the link, talk with the hub too."""
    bundle_bytes: int
    """Of that, bytes of bundles: more than the bundles' sizes by what cuts wasted."""
    cuts: tuple[float, ...]
    by_second: Mapping[int, int]


@dataclass(frozen=True)
class Event:
    """Something that happened at one moment; ``lane`` is ``cloud`` or a device."""

    at: float
    lane: Lane
    kind: Literal["state", "kill", "restart", "mail", "release", "note"]
    text: str


@dataclass(frozen=True)
class Span:
    """Something that lasted."""

    start: float
    end: float
    lane: Lane
    kind: str
    text: str


@dataclass(frozen=True)
class RunRecord:
    started: float
    ordered: float
    """When the deployment set was ordered."""
    ended: float
    set_id: str
    state: str
    transfers: tuple[TransferFact, ...]
    already_present: tuple[str, ...]
    """Devices that needed no transfer at all."""
    patches: Mapping[str, int]
    """patch id -> how many blobs SQL and the blob store have of it."""
    mails: tuple[ReceivedMail, ...]
    releases: tuple[ReleaseFact, ...]
    devices: tuple[DeviceFact, ...]
    kills: Mapping[str, int]
    """``host`` and ``device`` -> SIGKILLs that were seen to fall where they should."""
    events: tuple[Event, ...] = ()
    spans: tuple[Span, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    """The dry run's answer."""

    def summary(self) -> dict[str, Any]:
        """What ``.demo/summary.json`` holds."""
        return {
            "state": self.state,
            "transfers": [
                {
                    "device": fact.device,
                    "image": fact.image,
                    "imageId": fact.image_id,
                    "source": fact.source,
                    "fullBytes": fact.full_bytes,
                    "pullBytes": fact.pull_bytes,
                    "bundleBytes": fact.bundle_bytes,
                    "state": fact.state,
                    "verified": fact.verified,
                }
                for fact in self.transfers
            ],
            "alreadyPresent": list(self.already_present),
            "mails": len(self.mails),
            "releases": [{"device": fact.device, "hub": fact.hub} for fact in self.releases],
            "kills": dict(self.kills),
        }
