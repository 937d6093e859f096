"""What is written to a device's hub when a set is released: its modules replaced, everything else kept.

The answer of the hub's current content and the set's manifest; nothing is read or written here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagedelta.errors import ImageDeltaError
from imagedelta.names import parse_name
from planning.manifest import REGISTRY, modules_of
from planning.references import local_name
from planning.twin_limits import MAX_BYTES, MAX_MODULES, size_of

_BOOKKEEPING = ("$version", "$metadata")
_DESIRED = "properties.desired"


class ModuleClash(ImageDeltaError):
    """Two workstreams would give a device a module of the same name."""

    code = "release.module_clash"


class TwinTooLarge(ImageDeltaError):
    """With what others have on the device, a twin would be larger than a hub keeps."""

    code = "release.too_large"


@dataclass(frozen=True)
class NewContent:
    content: Mapping[str, Any]
    """modulesContent as it is to be applied."""
    images: Mapping[str, str]
    """module -> image name it will be started from: what the device must report."""
    changes: bool
    """False when the hub holds this content already."""


def new_content(
    manifest: Mapping[str, Any],
    current: Mapping[str, Any],
    *,
    workstream: str,
    owners: Mapping[str, str],
    registry_address: str | None,
    local_digests: Mapping[str, str | None],
) -> NewContent:
    """Merge a manifest into what a device runs.

    Args:
        manifest: Resolved (planning.manifest.resolve).
        current: The device's modulesContent as the hub holds it.
        owners: module -> workstream, of the releases that stand on the device.
        registry_address: Where the device's modules pull from; None leaves registry hosts as they are.
        local_digests: reference -> manifest digest in the device's registry, where known.

    Raises:
        ModuleClash: A module of the manifest belongs to another workstream.
        TwinTooLarge: The device has no room for it.
    """
    ours = modules_of(manifest)
    refuse_clash(ours, workstream, owners)
    before = _without_bookkeeping(current)
    after = copy.deepcopy(before)
    agent = _desired(after, "$edgeAgent")
    gone = {name for name, owner in owners.items() if owner == workstream} - set(ours)
    entries = pinned_modules(manifest, registry_address, local_digests)
    agent["modules"] = {
        **{name: item for name, item in _object(agent, "modules").items() if name not in gone},
        **entries,
    }
    _take_over_system(agent, manifest)
    _take_over_twins(after, manifest, gone)
    _refuse_too_large(after)
    images = {name: str(entry["settings"]["image"]) for name, entry in entries.items()}
    return NewContent(after, images, _as_kept(after) != _as_kept(before))


def refuse_clash(ours: Mapping[str, Any], workstream: str, owners: Mapping[str, str]) -> None:
    """Raises: ModuleClash."""
    foreign = sorted(name for name in ours if owners.get(name, workstream) != workstream)
    if foreign:
        named = ", ".join(f"{name} (of {owners[name]})" for name in foreign)
        raise ModuleClash(f"modules of another workstream have the same name: {named}")


def _refuse_too_large(content: Mapping[str, Any]) -> None:
    modules = _object(_object(content.get("$edgeAgent", {}), _DESIRED), "modules")
    if len(modules) > MAX_MODULES:
        raise TwinTooLarge(f"the device would have {len(modules)} modules, {MAX_MODULES} at most")
    for module, part in content.items():
        if (size := size_of(_object(part, _DESIRED))) > MAX_BYTES:
            raise TwinTooLarge(f"{module} would have {size} bytes of desired properties, {MAX_BYTES} at most")


def _without_bookkeeping(content: Mapping[str, Any]) -> dict[str, Any]:
    """What was applied, without what the hub wrote into it; what is no object was never a module's part."""
    return {
        module: {
            key: {name: item for name, item in value.items() if name not in _BOOKKEEPING}
            if isinstance(value, Mapping)
            else value
            for key, value in part.items()
        }
        for module, part in copy.deepcopy(dict(content)).items()
        if isinstance(part, Mapping)
    }


def _as_kept(content: Mapping[str, Any]) -> dict[str, Any]:
    """As a hub gives it back: nulls are gone from its twins, and a module without properties has no part."""
    kept = {module: _without_nulls(part) for module, part in content.items()}
    return {module: part for module, part in kept.items() if part.get(_DESIRED)}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return value


def _object(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The object under ``key`` of a twin, which anybody may have written; {} for anything else."""
    found = of.get(key)
    return dict(found) if isinstance(found, Mapping) else {}


def _desired(content: dict[str, Any], module: str) -> dict[str, Any]:
    """The desired properties within ``content``, to be changed there."""
    content[module] = _object(content, module)
    desired = content[module][_DESIRED] = _object(content[module], _DESIRED)
    return desired


def pinned_modules(
    manifest: Mapping[str, Any], registry_address: str | None, local_digests: Mapping[str, str | None]
) -> dict[str, dict[str, Any]]:
    """The manifest's modules as they start on a device: from its own registry, pinned."""
    return {name: _pinned(entry, registry_address, local_digests) for name, entry in modules_of(manifest).items()}


def _pinned(
    entry: Mapping[str, Any], registry_address: str | None, local_digests: Mapping[str, str | None]
) -> dict[str, Any]:
    name = parse_name(entry["settings"]["image"])
    if name.repository == REGISTRY:
        return dict(entry)
    image = local_name(str(name), registry_address, local_digests.get(str(name)))
    return {**entry, "settings": {**entry["settings"], "image": image}}


def _take_over_system(agent: dict[str, Any], manifest: Mapping[str, Any]) -> None:
    """Runtime and system modules as ordered; credentials of other workstreams stay."""
    ordered = manifest["modulesContent"]["$edgeAgent"][_DESIRED]
    before = _credentials(agent)
    for key, value in ordered.items():
        if key == "systemModules":
            agent[key] = {**_object(agent, key), **copy.deepcopy(value)}
        elif key != "modules":
            agent[key] = copy.deepcopy(value)
    merged = {**before, **_credentials(agent)}
    if merged:
        runtime = _object(agent, "runtime")
        agent["runtime"] = {**runtime, "settings": {**_object(runtime, "settings"), "registryCredentials": merged}}


def _credentials(agent: Mapping[str, Any]) -> dict[str, Any]:
    return _object(_object(_object(agent, "runtime"), "settings"), "registryCredentials")


def _take_over_twins(after: dict[str, Any], manifest: Mapping[str, Any], gone: set[str]) -> None:
    """Desired properties of our modules as ordered; routes are merged by name, others' stay."""
    for name in gone:
        after.pop(name, None)
    for module, part in manifest["modulesContent"].items():
        if module == "$edgeAgent":
            continue
        if module != "$edgeHub":
            after[module] = copy.deepcopy(part)
            continue
        hub = _desired(after, "$edgeHub")
        ordered = copy.deepcopy(part.get(_DESIRED, {}))
        routes = {**_object(hub, "routes"), **ordered.get("routes", {})}
        hub.update(ordered)
        hub["routes"] = routes
