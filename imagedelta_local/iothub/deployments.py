"""Deployments by target condition: which there are, and what follows from them for one device.

Of the base deployments whose condition a device meets, the one with the highest priority counts; layered ones of a
higher priority lay their properties over it, lowest first. A device that meets none keeps what it has.
Source: learn.microsoft.com/azure/iot-edge, "Understand IoT Edge automatic deployments"; IoT Hub REST, configurations.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from imagedelta_local.iothub.answers import HubError, invalid
from imagedelta_local.iothub.query import parse_condition
from imagedelta_local.iothub.store import HubStore, new_etag, now
from imagedelta_local.iothub.twins import MAX_PROPERTIES_BYTES, Properties, own_properties, require_size

MAX_DEPLOYMENTS = 100
_ID = re.compile(r"[a-z0-9\-+%_*!']{1,128}")
_WHOLE = "properties.desired"
_LAYER = f"{_WHOLE}."
_AGENT = "$edgeAgent"


@dataclass(frozen=True)
class Deployment:
    """One deployment as it was ordered; of two with one priority the younger counts more (``number`` grows)."""

    number: int
    deployment_id: str
    condition: str
    priority: int
    content: Mapping[str, Mapping[str, Any]]
    etag: str
    created: str

    @property
    def is_layered(self) -> bool:
        return _WHOLE not in self.content.get(_AGENT, {})

    @property
    def rank(self) -> tuple[int, int]:
        return self.priority, self.number


class DeploymentStore:
    """The deployments of all hubs."""

    def __init__(self, store: HubStore) -> None:
        self._db = store.db

    def all(self, hub: str) -> list[Deployment]:
        """By age."""
        rows = self._db.execute("select * from deployment where hub = ? order by number", (hub,))
        return [_deployment(row) for row in rows.fetchall()]

    def add(self, hub: str, order: Deployment) -> None:
        """Raises: HubError: The id is taken; there are 100."""
        known = self.all(hub)
        if any(one.deployment_id == order.deployment_id for one in known):
            raise HubError("ConfigurationAlreadyExists", f"there is a deployment {order.deployment_id}", 409)
        if len(known) >= MAX_DEPLOYMENTS:
            raise HubError("QuotaExceeded", f"a hub has at most {MAX_DEPLOYMENTS} deployments", 403)
        self._db.execute(
            "insert into deployment(hub, id, condition, priority, content, etag, created) values(?, ?, ?, ?, ?, ?, ?)",
            (
                *(hub, order.deployment_id, order.condition, order.priority),
                *(json.dumps(order.content), order.etag, order.created),
            ),
        )

    def delete(self, hub: str, deployment_id: str) -> None:
        self._db.execute("delete from deployment where hub = ? and id = ?", (hub, deployment_id))


def ordered(deployment_id: str, body: Mapping[str, Any]) -> Deployment:
    """What a request orders.

    Raises: HubError: An id, condition, priority or content that cannot be.
    """
    condition, priority = body.get("targetCondition"), body.get("priority", 0)
    if not _ID.fullmatch(deployment_id):
        raise invalid(f"{deployment_id!r} is no id of a deployment: lower-case letters, digits and -+%_*!'")
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority < 1 << 31:
        raise invalid("the priority is a whole number from 0 on")
    if not isinstance(condition, str):
        raise invalid("a deployment needs a targetCondition")
    meets(condition)
    content = body.get("content")
    modules = content.get("modulesContent") if isinstance(content, dict) else None
    if not isinstance(modules, dict) or not modules:
        raise invalid("content.modulesContent must be a JSON object with modules")
    checked = {module: _checked(module, parts) for module, parts in modules.items()}
    return Deployment(0, deployment_id, condition, priority, checked, new_etag(), now())


def meets(condition: str) -> Callable[[Properties], bool]:
    """Whether a device's twin meets a target condition; ``*`` is met by all, an empty one by none.

    Raises: HubError: It cannot be read.
    """
    if condition.strip() == "*":
        return lambda twin: True
    if not condition.strip():
        return lambda twin: False
    return parse_condition(condition)


def content_for(twin: Properties, deployments: Iterable[Deployment]) -> dict[str, Properties] | None:
    """module -> desired properties of a device; None when no base deployment is for it, or it would be too large."""
    met = sorted((one for one in deployments if meets(one.condition)(twin)), key=lambda one: one.rank)
    bases = [one for one in met if not one.is_layered]
    if not bases:
        return None
    base = bases[-1]
    desired: dict[str, Properties] = {}
    for one in (base, *(layer for layer in met if layer.is_layered and layer.priority > base.priority)):
        for module, parts in one.content.items():
            desired[module] = _laid_over(desired.get(module, {}), parts)
    try:
        for module, properties in desired.items():
            require_size(properties, MAX_PROPERTIES_BYTES, module)
    except HubError:
        return None
    return desired


def states_for(twin: Properties, deployments: Iterable[Deployment]) -> dict[str, dict[str, str]]:
    """What the $edgeAgent twin of a device says of the deployments whose condition it meets.

    Source: IoT Hub REST reference, "Twin", ``configurations``.
    """
    deployments = list(deployments)
    met = sorted((one for one in deployments if meets(one.condition)(twin)), key=lambda one: one.rank)
    bases = [one for one in met if not one.is_layered]
    given = content_for(twin, deployments) is not None

    def applies(one: Deployment) -> bool:
        return given and (one.priority > bases[-1].priority if one.is_layered else one is bases[-1])

    return {one.deployment_id: {"status": "Applied" if applies(one) else "Targeted"} for one in met}


def _laid_over(desired: Properties, parts: Mapping[str, Any]) -> Properties:
    after = json.loads(json.dumps(parts.get(_WHOLE, desired)))
    for name, value in parts.items():
        if name != _WHOLE:
            *way, last = name.removeprefix(_LAYER).split(".")
            place = after
            for step in way:
                below = place.get(step)
                place[step] = place = below if isinstance(below, dict) else {}
            place[last] = value
    return dict(after)


def _checked(module: str, parts: object) -> dict[str, Any]:
    if not isinstance(parts, dict) or not parts:
        raise invalid(f"the content of {module} must be a JSON object")
    for name, value in parts.items():
        if name != _WHOLE and not name.startswith(_LAYER):
            raise invalid(f"the content of {module} has {name!r}: it is {_WHOLE!r} or lies below it")
        whole = value if name == _WHOLE else _laid_over({}, {name: value})
        require_size(own_properties(whole, f"{module}.{name}"), MAX_PROPERTIES_BYTES, f"{module}.{name}")
    return parts


def _deployment(row: sqlite3.Row) -> Deployment:
    content = json.loads(row["content"])
    return Deployment(row["number"], row["id"], row["condition"], row["priority"], content, row["etag"], row["created"])
