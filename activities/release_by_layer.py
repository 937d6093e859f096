"""Release a device by a tag: the hub lays the set's layer over the device's base by itself.

The layer is made once in each hub; a device costs two reads and one small write, which its hub takes on the twin that
was read alone. Written for devices that are deployed to by target condition; IoT Hub lets the last of both win, and
nobody sees it lose, so no other device is released so, and none of these by writing to it.
Source: docs/adr/0029-layers-by-a-tag.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activities.refused_release import Refused
from contracts.records import DeploymentSet, Device, Release
from imagedelta.errors import RequestError
from planning.layers import Layer, family, layer_in, new_layer, tag_of
from services.deps import Deps
from services.ports import Deployment, DeviceTags, Hub, Twin
from services.store_port import HubLayer


def goes_by_layer(of: DeploymentSet, device_id: str, twin: Twin) -> bool:
    """Whether the device's manifest is brought by a layer; what it is deployed to by already decides.

    Raises: Refused: the set was ordered otherwise.
    """
    by_condition = bool(twin.configurations)
    if of.release_by == "device" and by_condition:
        named = ", ".join(sorted(twin.configurations)[:3])
        raise Refused(
            f"{device_id} is deployed to by target condition ({named}): a manifest written to it would be lost",
            code="release.by_condition",
            state="conflict",
        )
    has_base = "applied" in twin.configurations.values()
    if by_condition and not has_base:  # not yet, or never: a layer stays with what it names until a base is there
        raise Refused(
            f"no base deployment is applied to {device_id}, which is only targeted",
            code="release.no_base",
            state="ready",
        )
    if of.release_by == "condition" and not has_base:
        raise Refused(
            f"{device_id} has no base deployment by target condition that a layer could lie on",
            code="release.no_base",
            state="conflict",
        )
    return by_condition


def put_into_layer(
    deps: Deps,
    of: DeploymentSet,
    manifest: Mapping[str, Any],
    device: Device,
    hub: Hub,
    twin: Twin,
    local_digests: Mapping[str, str | None],
) -> Release:
    """Raises: Refused; DependencyError when the hub does not answer."""
    tags = hub.device_tags(device.hub_device_id)
    if tags is None:
        raise Refused(f"the hub has no {device.device_id}", code="request.not_in_hub", state="failed")
    layer = new_layer(
        manifest,
        set_id=of.set_id,
        ordinal=of.ordinal,
        workstream=of.workstream,
        owners=deps.store.releases.workstream_modules(device.device_id),
        registry_address=device.registry_address,
        local_digests=local_digests,
    )
    before = layer_in(tags.tags, of.workstream)
    _require_ours(before, of.workstream, device.device_id)
    _make(deps, of, device, hub, layer)
    if before != layer.layer_id:
        _tag(hub, device, layer, of.workstream, tags)
    return Release(
        set_id=of.set_id,
        device_id=device.device_id,
        hub=device.hub,
        workstream=of.workstream,
        modules=tuple(sorted(layer.images)),
        content=_only_images(layer),
        previous={},
        version=twin.version,
        applied_by_us=before != layer.layer_id,
        released_at=deps.now(),
        layer_id=layer.layer_id,
    )


def _require_ours(before: Any, workstream: str, device_id: str) -> None:
    """Nothing here, or a layer of the workstream: of an older set, or of this one when it died before it was noted."""
    if before is None or (isinstance(before, str) and before.startswith(family(workstream))):
        return
    raise Refused(
        f"somebody else has set the tag of workstream {workstream} on {device_id} to {str(before)[:80]!r}",
        code="release.conflict",
        state="conflict",
    )


def _make(deps: Deps, of: DeploymentSet, device: Device, hub: Hub, layer: Layer) -> None:
    """Have the layer in the hub. The first of a set's devices makes it; two at once make the same."""
    layers = deps.store.releases.layers
    wanted = layers.want(HubLayer(device.hub, layer.layer_id, of.set_id, of.workstream), deps.now())
    if wanted == "wait":
        raise Refused(
            f"{layer.layer_id} is being made in the hub, or taken out of it", code="release.layer_waits", state="ready"
        )
    if wanted == "too_many":
        raise Refused(
            f"{device.device_id} would need a deployment of its own: the devices of the set are too unlike",
            code="release.too_unlike",
            state="conflict",
        )
    if wanted == "make":
        hub.create_deployment(Deployment(layer.layer_id, layer.condition, layer.priority, layer.content))
        layers.made(device.hub, layer.layer_id, deps.now())


def _tag(hub: Hub, device: Device, layer: Layer, workstream: str, tags: DeviceTags) -> None:
    try:
        hub.set_tags(device.hub_device_id, tag_of(layer, workstream), etag=tags.etag)
    except RequestError as error:
        if error.code == "hub.changed":  # the next try reads them again
            raise Refused(str(error), code=error.code, state="ready") from error
        raise


def _only_images(layer: Layer) -> dict[str, Any]:
    """What is looked for when it is confirmed; the rest is the same for every device, and follows from the set."""
    modules = {name: {"settings": {"image": image}} for name, image in layer.images.items()}
    return {"$edgeAgent": {"properties.desired": {"modules": modules}}}
