"""A release as a layer: the modules of a workstream, which the hub itself lays over the base of tagged devices. Pure.

A device is in one layer of a workstream at a time, because the tag that puts it there has one value. What a layer
does not name (runtime, system modules, credentials, other workstreams) stays with the base and the other layers.
Source: Microsoft Learn, "Understand IoT Edge automatic deployments for single devices or at scale", layered
deployment; docs/adr/0029-layers-by-a-tag.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planning.manifest import modules_of
from planning.release import pinned_modules, refuse_clash

TAG = "imagedelta"
"""Of a device's twin: an object with the layer of each workstream."""
_DESIRED = "properties.desired"
_ABOVE_EVERY_BASE = 1_000_000
"""A layer lies over bases of a lower priority alone, and two of one priority take each other's place: so each set's
has its own. Source: github.com/Azure/iotedge issues 4935 and 6685, github.com/MicrosoftDocs/azure-docs issue 67758."""


@dataclass(frozen=True)
class Layer:
    layer_id: str
    condition: str
    """Of device twins."""
    priority: int
    content: Mapping[str, Any]
    """modulesContent in the layered form."""
    images: Mapping[str, str]
    """module -> image name it will be started from."""


def new_layer(
    manifest: Mapping[str, Any],
    *,
    set_id: str,
    ordinal: int,
    workstream: str,
    owners: Mapping[str, str],
    registry_address: str | None,
    local_digests: Mapping[str, str | None],
) -> Layer:
    """The layer of a set for devices of this registry address and these digests: one and the same for all of them.

    Args: as of planning.release.new_content.

    Raises:
        ModuleClash: A module of the manifest belongs to another workstream.
    """
    refuse_clash(modules_of(manifest), workstream, owners)
    entries = pinned_modules(manifest, registry_address, local_digests)
    content = _layered(manifest, entries)
    layer_id = f"{family(workstream)}{set_id.removeprefix('set-')}-{_digest(content)}"
    return Layer(
        layer_id,
        f"tags.{TAG}.{tag_name(workstream)} = '{layer_id}'",
        _ABOVE_EVERY_BASE + ordinal,
        content,
        {name: str(entry["settings"]["image"]) for name, entry in entries.items()},
    )


def tag_name(workstream: str) -> str:
    """A name that a target condition takes as it stands: no dots and dashes, no reserved word, no upper case.

    What is not plain gets a digest, so that no workstream can be named to take another's tag.
    """
    if re.fullmatch(r"[a-z0-9]+", workstream):
        return f"ws_{workstream}"
    digest = hashlib.sha256(workstream.encode()).hexdigest()[:8]
    return f"ws_{re.sub(r'[^a-z0-9]', '_', workstream.lower())}_{digest}"


def family(workstream: str) -> str:
    """What the ids of all layers of a workstream begin with."""
    return f"{TAG}-{tag_name(workstream)}-"


def family_of(layer_id: str) -> str:
    return layer_id.rsplit("-", 2)[0] + "-"


def layer_in(tags: Mapping[str, Any], workstream: str) -> Any:
    """What the tag of the workstream says; None when there is none."""
    ours = tags.get(TAG)
    return ours.get(tag_name(workstream)) if isinstance(ours, Mapping) else None


def tag_of(layer: Layer, workstream: str) -> dict[str, Any]:
    return {TAG: {tag_name(workstream): layer.layer_id}}


def _layered(manifest: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = {
        "$edgeAgent": {f"{_DESIRED}.modules.{name}": dict(entry) for name, entry in entries.items()}
    }
    for module, part in manifest["modulesContent"].items():
        if module == "$edgeHub":
            routes = part.get(_DESIRED, {}).get("routes", {})
            if routes:
                content[module] = {f"{_DESIRED}.routes.{name}": route for name, route in routes.items()}
        elif module != "$edgeAgent" and part.get(_DESIRED):
            content[module] = dict(part)
    return content


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
