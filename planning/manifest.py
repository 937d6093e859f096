"""IoT Edge deployment manifests: from a template to a manifest whose every name is known.

A manifest is ``{"modulesContent": {"$edgeAgent": …, "$edgeHub": …, "<module>": …}}``; the layered form with
``properties.desired.modules.<name>`` keys is turned into the full form, so that later code knows one.
Source: Microsoft Learn, "Deploy modules and establish routes in IoT Edge" (schema 1.1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagedelta.errors import RequestError
from planning.references import parse_name

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_LAYERED = "properties.desired.modules."
_OPTIONS_PIECE = 512
_MAX_DEPTH = 32
_MAX_OPTIONS = 100
"""createOptions, createOptions01 … createOptions99."""
REGISTRY = "registry"
"""A module whose repository has this name is the device's own registry: it cannot be pulled from itself."""


def resolve(template: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a template: ``${NAME}`` filled in, one form, createOptions as strings.

    Raises: RequestError ``request.unresolved_placeholder`` or ``request.manifest`` naming the place.
    """
    filled = _fill(template, values, "manifest", 0)
    content = filled.get("modulesContent")
    if not isinstance(content, dict) or not isinstance(content.get("$edgeAgent"), dict):
        raise _wrong("it has no modulesContent with $edgeAgent")
    agent = _full_form(content["$edgeAgent"])
    agent["systemModules"] = {name: _module(name, item) for name, item in _dict(agent, "systemModules").items()}
    agent["modules"] = {name: _module(name, item) for name, item in _dict(agent, "modules").items()}
    if not agent["modules"]:
        raise _wrong("it names no module")
    others = {name: item for name, item in content.items() if name != "$edgeAgent"}
    return {"modulesContent": {"$edgeAgent": {"properties.desired": agent}, **others}}


def modules_of(manifest: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """module name -> its entry under $edgeAgent; system modules are not among them."""
    found: Mapping[str, Mapping[str, Any]] = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]
    return found


def modules_by_image(manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """reference -> the modules that start it; the local registry's own image is not among them."""
    found: dict[str, tuple[str, ...]] = {}
    for name, entry in modules_of(manifest).items():
        reference = entry["settings"]["image"]
        if parse_name(reference).repository != REGISTRY:
            found[reference] = (*found.get(reference, ()), name)
    return found


def module_images(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Every image that must be on a device before the manifest may be set."""
    return tuple(modules_by_image(manifest))


def split_options(options: str) -> dict[str, str]:
    """createOptions in pieces of 512 characters: createOptions, createOptions01 …

    Raises: RequestError ``request.manifest`` when they do not fit a hundred pieces.
    """
    pieces = [options[at : at + _OPTIONS_PIECE] for at in range(0, len(options), _OPTIONS_PIECE)] or [""]
    if len(pieces) > _MAX_OPTIONS:
        raise _wrong(f"createOptions of {len(options)} characters, at most {_OPTIONS_PIECE * _MAX_OPTIONS}")
    return {f"createOptions{number:02d}" if number else "createOptions": piece for number, piece in enumerate(pieces)}


def _fill(value: Any, values: Mapping[str, str], where: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise _wrong(f"{where} is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        return _fill_text(value, values, where)
    if isinstance(value, Mapping):
        return {key: _fill(item, values, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, values, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
    return value


def _fill_text(text: str, values: Mapping[str, str], where: str) -> str:
    filled = _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)
    if "${" in filled:
        raise RequestError(f"{where}: {filled!r} still holds ${{…}}", code="request.unresolved_placeholder")
    return filled


def _full_form(agent: Mapping[str, Any]) -> dict[str, Any]:
    desired = agent.get("properties.desired", {})
    if not isinstance(desired, dict):
        raise _wrong("$edgeAgent: properties.desired is not an object")
    layered = {key.removeprefix(_LAYERED): item for key, item in agent.items() if key.startswith(_LAYERED)}
    return {**desired, "modules": {**_dict(desired, "modules"), **layered}}


def _dict(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = of.get(key, {})
    if not isinstance(found, dict):
        raise _wrong(f"{key} is not an object")
    return found


def _module(name: str, entry: Any) -> dict[str, Any]:
    settings = entry.get("settings") if isinstance(entry, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("image"), str) or not settings["image"]:
        raise _wrong(f"module {name} has no settings.image")
    options = "".join(_options(name, settings))
    kept = {key: item for key, item in settings.items() if not key.startswith("createOptions")}
    return {**entry, "settings": {**kept, **split_options(options or "{}")}}


def _options(name: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """createOptions as one JSON text: an object in templates, pieces of a string in manifests."""
    for key in sorted(key for key in settings if key.startswith("createOptions")):
        piece = settings[key]
        if isinstance(piece, dict):
            yield json.dumps(piece, separators=(",", ":"))
        elif isinstance(piece, str):
            yield piece
        else:
            raise _wrong(f"module {name}: {key} is neither an object nor text")


def _wrong(what: str) -> RequestError:
    return RequestError(f"the manifest: {what}", code="request.manifest")
