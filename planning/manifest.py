"""IoT Edge deployment manifests: from a template to a manifest whose every name is known.

A manifest is ``{"modulesContent": {"$edgeAgent": …, "$edgeHub": …, "<module>": …}}``; the layered form with
``properties.desired.<path>`` keys is turned into the full form, so that later code knows one.
Source: Microsoft Learn, "Deploy modules and establish routes in IoT Edge" (schema 1.1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import ContentError, RequestError
from imagedelta.names import parse_name
from planning.twin_limits import MAX_MODULES, faults

_PLACEHOLDER = re.compile(r"\$(?:\{([^{}]*)\}|([A-Z][A-Z0-9_]*))")
"""Templates of VS Code and iotedgedev write credentials without braces. Texts may hold such by chance, so these are
filled in where a value is given, and left else."""
_VARIABLE = re.compile(r"\$[A-Z][A-Z0-9_]*")
_DESIRED = "properties.desired"
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
    content = _full_form(_modules_content(filled))
    agent = content["$edgeAgent"][_DESIRED]
    agent["systemModules"] = {name: _module(name, item) for name, item in _dict(agent, "systemModules").items()}
    agent["modules"] = {name: _module(name, item) for name, item in _dict(agent, "modules").items()}
    if not agent["modules"]:
        raise _wrong("it names no module")
    _check_names(agent["modules"])
    _check_settings(content)
    _check_limits(content)
    return {"modulesContent": content}


def modules_of(manifest: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """module name -> its entry under $edgeAgent; system modules are not among them."""
    found: Mapping[str, Mapping[str, Any]] = manifest["modulesContent"]["$edgeAgent"]["properties.desired"]["modules"]
    return found


def modules_by_image(manifest: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """reference -> the modules that start it; the local registry's own image is not among them.

    References are in the one spelling, whatever the manifest writes.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, entry in modules_of(manifest).items():
        image = parse_name(entry["settings"]["image"])
        if image.repository != REGISTRY:
            found[str(image)] = (*found.get(str(image), ()), name)
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
        names = {key: _fill_text(key, values, f"{where}.{key}") for key in value}
        if len(set(names.values())) < len(names):
            raise _wrong(f"two names in {where} become the same")
        return {names[key]: _fill(item, values, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, values, f"{where}[{number}]", depth + 1) for number, item in enumerate(value)]
    return value


def _fill_text(text: str, values: Mapping[str, str], where: str) -> str:
    filled = _PLACEHOLDER.sub(lambda match: values.get(match[1] or match[2] or "", match[0]), text)
    if "${" in filled:
        raise _unresolved(where, filled)
    return filled


def _modules_content(filled: Mapping[str, Any]) -> Any:
    """Of a manifest, or of a whole deployment as hubs and the Azure CLI write it."""
    content = filled.get("content")
    return (content if isinstance(content, Mapping) else filled).get("modulesContent")


def _full_form(content: Any) -> dict[str, dict[str, Any]]:
    """Every part as ``{"properties.desired": {…}}``."""
    if not isinstance(content, dict) or "$edgeAgent" not in content:
        raise _wrong("it has no modulesContent with $edgeAgent")
    return {name: {_DESIRED: _desired_of(name, part)} for name, part in content.items()}


def _desired_of(name: str, part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise _wrong(f"{name} is not an object")
    desired = dict(_dict(part, _DESIRED))
    for key, item in part.items():
        if key.startswith(f"{_DESIRED}."):
            _put_at(desired, key.split(".")[2:], item)
        elif key != _DESIRED:
            raise _wrong(f"{name}: {key} is neither {_DESIRED} nor a path below it")
    return desired


def _put_at(desired: dict[str, Any], path: Sequence[str], item: Any) -> None:
    if len(path) > _MAX_DEPTH:
        raise _wrong(f"a path of {len(path)} names")
    for name in path[:-1]:
        desired[name] = dict(_dict(desired, name))
        desired = desired[name]
    desired[path[-1]] = item


def _check_names(modules: Mapping[str, Mapping[str, Any]]) -> None:
    for module, entry in modules.items():
        try:
            parse_name(entry["settings"]["image"])
        except RequestError as error:
            raise _wrong(f"module {module}: {error}") from None


def _check_settings(content: Mapping[str, Mapping[str, Any]]) -> None:
    """What a release merges must be objects, and a module's properties belong to a module that is named."""
    agent = content["$edgeAgent"][_DESIRED]
    credentials = _dict(_dict(_dict(agent, "runtime"), "settings"), "registryCredentials")
    for name, of in credentials.items():
        for key, value in of.items() if isinstance(of, Mapping) else ():
            if isinstance(value, str) and _VARIABLE.fullmatch(value):
                raise _unresolved(f"registryCredentials.{name}.{key}", value)
    if "$edgeHub" in content:
        _dict(content["$edgeHub"][_DESIRED], "routes")
    strangers = sorted(set(content) - set(agent["modules"]) - {"$edgeAgent", "$edgeHub"})
    if strangers:
        raise _wrong(f"properties of {', '.join(strangers)}, which is not among its modules")


def _check_limits(content: Mapping[str, Mapping[str, Any]]) -> None:
    """What a hub would refuse when everything has been sent."""
    number = len(content["$edgeAgent"][_DESIRED]["modules"])
    if number > MAX_MODULES:
        raise _wrong(f"{number} modules, a deployment has at most {MAX_MODULES}")
    if fault := next(faults(content), None):
        raise _wrong(fault)


def _dict(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = of.get(key, {})
    if not isinstance(found, dict):
        raise _wrong(f"{key} is not an object")
    return found


def _module(name: str, entry: Any) -> dict[str, Any]:
    settings = entry.get("settings") if isinstance(entry, dict) else None
    if not isinstance(settings, dict) or not isinstance(settings.get("image"), str) or not settings["image"]:
        raise _wrong(f"module {name} has no settings.image")
    options = "".join(_options(name, settings)) or "{}"
    _check_options(name, options)
    kept = {key: item for key, item in settings.items() if not key.startswith("createOptions")}
    return {**entry, "settings": {**kept, **split_options(options)}}


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


def _check_options(name: str, options: str) -> None:
    """edgeAgent reads them with the device far away; here a person still sees the answer."""
    try:
        parse_object(options.encode("utf-8", "surrogatepass"), "createOptions")
    except ContentError as error:
        raise _wrong(f"module {name}: {error}") from error


def _unresolved(where: str, text: str) -> RequestError:
    return RequestError(f"{where}: {text!r} still holds a name to fill in", code="request.unresolved_placeholder")


def _wrong(what: str) -> RequestError:
    return RequestError(f"the manifest: {what}", code="request.manifest")
