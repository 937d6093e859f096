"""What an IoT hub's REST interface says and is asked: twins, deployments, and the query that finds many twins.

Source: learn.microsoft.com/azure/iot-hub, "Understand and use device twins", "IoT Hub query language".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from imagedelta.errors import ContentError
from services.ports import Deployment, DeviceTags, Twin

PAGE = 100
"""Twins that one page of a query holds at most."""
_MAX_QUERY = 8192
"""Characters of a query. Source: "Queries for IoT Hub device and module twins", limitations."""
_AGENTS = "SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND deviceId IN [{}]"
_TAGS = "SELECT deviceId, tags FROM devices WHERE deviceId IN [{}]"
_MODULES = "SELECT deviceId FROM devices.modules WHERE moduleId = {}"
_BOOKKEEPING = ("$version", "$metadata")


def read_twin(document: object) -> Twin:
    """Raises: ContentError: It is not a twin."""
    properties = _object(_object(document, "twin").get("properties"), "properties")
    desired = _object(properties.get("desired"), "desired")
    reported = _object(properties.get("reported", {}), "reported")
    version = desired.get("$version")
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < 1 << 63:
        raise ContentError(f"a twin whose $version is {str(version)[:40]!r}")
    return Twin(
        desired=_own(desired),
        reported=_own(reported),
        version=version,
        etag=str(_object(document, "twin").get("etag", "")),
        seen_at=_seen_at(reported),
        configurations=_configurations(document),
    )


def read_tags(document: object) -> DeviceTags:
    """Raises: ContentError: It is not a device's twin."""
    twin = _object(document, "twin")
    return DeviceTags(_own(_object(twin.get("tags") or {}, "tags")), str(twin.get("etag", "")))


def read_deployment(document: object) -> Deployment:
    """Raises: ContentError: It is not a deployment of IoT Edge modules."""
    fields = _object(document, "deployment")
    content = _object(_object(fields.get("content"), "content").get("modulesContent"), "modulesContent")
    names, priority = (fields.get("id"), fields.get("targetCondition")), fields.get("priority")
    if not all(isinstance(name, str) for name in names) or not isinstance(priority, int):
        raise ContentError("a deployment without id, targetCondition or priority")
    return Deployment(str(names[0]), str(names[1]), priority, content)


def deployment_document(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.deployment_id,
        "targetCondition": deployment.target_condition,
        "priority": deployment.priority,
        "content": {"modulesContent": dict(deployment.modules_content)},
    }


def agent_queries(device_ids: Collection[str]) -> Iterator[tuple[str, int]]:
    """Queries for the $edgeAgent twins of these devices, each with how many it asks for: one page, if they fit."""
    return _queries(_AGENTS, device_ids)


def tag_queries(device_ids: Collection[str]) -> Iterator[tuple[str, int]]:
    """The same for their tags."""
    return _queries(_TAGS, device_ids)


def module_query(module_id: str) -> str:
    """For the devices that have the module."""
    return _MODULES.format(_literal(module_id))


def _queries(form: str, device_ids: Collection[str]) -> Iterator[tuple[str, int]]:
    few: list[str] = []
    length = room = _MAX_QUERY - len(form)
    for device_id in dict.fromkeys(device_ids):
        literal = _literal(device_id)
        if few and (len(few) == PAGE or length < len(literal) + 1):
            yield form.format(",".join(few)), len(few)
            few, length = [], room
        few.append(literal)
        length -= len(literal) + 1
    if few:
        yield form.format(",".join(few)), len(few)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _configurations(document: object) -> dict[str, str]:
    """Source: IoT Hub REST reference, "Twin", ``configurations``: id -> {"status": "Targeted" | "Applied"}."""
    found = _object(document, "twin").get("configurations")
    of = found.items() if isinstance(found, Mapping) else ()
    return {name: str(state.get("status", "")).lower() for name, state in of if isinstance(state, Mapping)}


def _own(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in _BOOKKEEPING}


def _seen_at(reported: Mapping[str, Any]) -> datetime | None:
    """``$metadata`` mirrors the properties; each has its ``$lastUpdated``."""
    times = reported.get("$metadata")
    of = times.get("lastDesiredVersion") if isinstance(times, Mapping) else None
    text = of.get("$lastUpdated") if isinstance(of, Mapping) else None
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return None if moment is None else _utc(moment)
    except (ValueError, OverflowError):
        return None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ContentError(f"{what} is {type(value).__name__}, no object")
    return value
