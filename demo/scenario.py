"""Who and what the demo plays with: three ships, two hubs, one order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.checks import Expected
from demo.images import APP_NEW, APP_OLD, RECON, TOOL
from demo.link import LinkProfile

_TEMPLATE = Path(__file__).with_name("deployment.template.json")

HUBS = ("north", "south")
MODULE = "imagereconstruction"
WORKSTREAM = "propulsion"
REGISTRY = "localhost:5000"
SET_NAME = "Engine 2, with tools"
OWNER_NAME, OWNER_EMAIL = "Ada Keller", "ada.keller@fleet.example"
PRIORITY = "urgent"
VALUES = {"MODULES.engine": APP_NEW, "MODULES.tools": TOOL, "LOG_LEVEL": "info", "DATA_ROOT": "/var/lib/ship"}


@dataclass(frozen=True)
class Ship:
    """One device: where it is registered, what it has, how it is linked."""

    device: str
    hub: str
    images: tuple[str, ...]
    link: LinkProfile


SHIPS = (
    Ship("aurora", "north", (RECON,), LinkProfile(600_000, 0.15, cut_after_bytes=3_000_000)),
    Ship("boreas", "south", (RECON, APP_OLD), LinkProfile(400_000, 0.25, cut_after_bytes=2_500_000)),
    Ship("calypso", "south", (RECON, APP_OLD, APP_NEW, TOOL), LinkProfile(400_000, 0.25, cut_after_bytes=2_500_000)),
)
WANTED = (APP_NEW, TOOL)

EXPECTED = Expected(
    transfers=tuple((ship.device, image) for ship in SHIPS for image in WANTED if image not in ship.images),
    hubs=tuple((ship.device, ship.hub) for ship in SHIPS),
    already_present=tuple(ship.device for ship in SHIPS if set(WANTED) <= set(ship.images)),
    owner_email=OWNER_EMAIL,
    patched_images=((APP_NEW, APP_OLD),),
)


def manifest_template() -> dict[str, Any]:
    """The IoT Edge deployment manifest template that is ordered."""
    return dict(json.loads(_TEMPLATE.read_text("utf-8")))


def content_before() -> dict[str, Any]:
    """modulesContent of every ship before the order: system modules and the Image Reconstruction module."""
    ordered = manifest_template()["modulesContent"]
    agent = ordered["$edgeAgent"]["properties.desired"]
    system = {
        name: {**module, "settings": {"image": module["settings"]["image"], "createOptions": "{}"}}
        for name, module in agent["systemModules"].items()
    }
    reconstruction = {
        "version": "1.0",
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "settings": {"image": f"{REGISTRY}/{RECON}", "createOptions": "{}"},
    }
    before = {**agent, "systemModules": system, "modules": {MODULE: reconstruction}}
    routes = {"reconstructionToCloud": f"FROM /messages/modules/{MODULE}/* INTO $upstream"}
    hub = {"schemaVersion": "1.1", "routes": routes, "storeAndForwardConfiguration": {"timeToLiveSecs": 604_800}}
    return {"$edgeAgent": {"properties.desired": before}, "$edgeHub": {"properties.desired": hub}}
