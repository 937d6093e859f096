"""Images with real signatures and a device, for plans."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from contracts.records import Device, DeviceImage, ImageRecord
from imagedelta.signatures import Signature, index_layer, sign
from planning.facts import FleetFacts, Wanted
from planning.plan import Policy
from tests.images import BuiltImage, an_image

AT = datetime(2030, 1, 1, tzinfo=UTC)
PLATFORM = "linux/amd64"


def noise(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = {f"usr/lib/lib{name}.so": noise(n, 50_000) for n, name in enumerate("abc")}
APP = {f"app/{name}.dll": noise(n + 100) for n, name in enumerate("abcd")}
APP_1 = an_image(BASE, APP, references=("fleet.example/app:1",))
APP_2 = an_image(BASE, {**APP, "app/a.dll": noise(7)}, references=("fleet.example/app:2",))
TOOL = an_image(BASE, {"tool/k.dll": noise(8)}, references=("fleet.example/tool:1",))
RECON = an_image(BASE, {"recon/main.py": noise(9, 3_000)}, references=("fleet.example/imagereconstruction:1",))
STRANGER = an_image({"x/y": noise(10)}, references=("fleet.example/stranger:1",))
IMAGES = (APP_1, APP_2, TOOL, RECON, STRANGER)


def signed(built: BuiltImage) -> Signature:
    return sign(built.image, [index_layer(io.BytesIO(layer)) for layer in built.layers])


SIGNATURES = {built.image_id: signed(built) for built in IMAGES}


def record(built: BuiltImage) -> ImageRecord:
    image = built.image
    size = len(image.config) + sum(map(len, built.layers))
    return ImageRecord(image.image_id, PLATFORM, image.config, image.diff_ids, size, "", image.references, AT)


RECORDS = {built.image_id: record(built) for built in IMAGES}
BLANK = Device(
    device_id="ship-1",
    state="active",
    hub="north",
    platform=PLATFORM,
    tags={},
    registry_address="localhost:5000",
    bytes_per_second=None,
    money_per_megabyte=None,
    link_rate=None,
    link_hours=None,
    installation_id="disk-1",
    profiles=("v1-64m",),
    trusted_keys=(),
    bundle_forms=(),
    free_disk_bytes=None,
    held_reason=None,
    last_inventory_at=AT,
    enrolled_at=AT,
    resync=0,
    desired_digest=None,
    outbox_renew_after=None,
)


def a_device(device_id: str = "ship-1", **changes: Any) -> Device:
    return replace(BLANK, device_id=device_id, **changes)


def has(*images: BuiltImage, references: tuple[str, ...] = ()) -> tuple[DeviceImage, ...]:
    return tuple(DeviceImage(built.image_id, references, None, AT) for built in images)


def facts(present: dict[str, tuple[DeviceImage, ...]], *devices: Device, **changes: Any) -> FleetFacts:
    """``present``: device id -> its images."""
    chosen = devices or tuple(a_device(device_id) for device_id in present)
    return replace(FleetFacts(chosen, present, RECORDS, SIGNATURES), **changes)


def wanted(*images: BuiltImage) -> tuple[Wanted, ...]:
    return tuple(Wanted(built.image.references[0], ("app",), {PLATFORM: built.image_id}) for built in images)


@dataclass(frozen=True)
class Limited:
    allow_full_bundles: bool = True
    max_bytes_per_device: int | None = None
    max_bytes: int | None = None


def limits(**given: Any) -> Limited:
    return Limited(**given)


def a_policy(**changes: Any) -> Policy:
    policy = Policy(
        workstream="bridge",
        priority=None,
        rules=(),
        recon_repository="imagereconstruction",
        known_profiles=("v1-64m",),
    )
    return replace(policy, **changes)
