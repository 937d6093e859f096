"""The one bundle of ports that every step and trigger receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagedelta.bundles.seal import Sealer
from services.ports import Blobs, Clock, Hub, Mailer, Registry, Webhook
from services.settings import Settings
from services.store_port import Store
from services.watching.telemetry import NoTelemetry, Telemetry


@dataclass(frozen=True)
class Deps:
    settings: Settings
    store: Store
    blobs: Blobs
    hubs: Mapping[str, Hub]
    """By the hub's configured name."""
    registries: Mapping[str, Registry]
    """By the registry's configured name."""
    mailer: Mailer
    sealers: Mapping[str, Sealer]
    """By key id; the first is the preferred one, the others serve devices that do not trust it yet."""
    now: Clock
    webhook: Webhook | None = None
    """None: events go out by mail alone."""
    telemetry: Telemetry = field(default_factory=NoTelemetry)
