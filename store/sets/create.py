"""A new deployment set: its devices resolved, its row and its members stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select

from contracts.records import DeploymentSet, Device
from contracts.requests import Owner, StartDeployment
from contracts.states import MEMBER, SET
from imagedelta.errors import RequestError
from store.devices.rows import device_records
from store.devices.tag_query import tag_condition
from store.kernel.history import remember
from store.kernel.schema import devices, members, sets
from store.kernel.tools import lock_devices, missing_of, new_id, next_value, rows_in
from store.sets.rows import known_set

MAX_DEVICES = 10_000
NAMED = 10
"""Names repeated in an error message."""


def select_devices(connection: Connection, request: StartDeployment) -> tuple[Device, ...]:
    """Every device the request names, in order of id; retired ones that a query finds are left out."""
    found = _by_id(connection, request.devices.ids) if request.devices.ids else _by_query(connection, request)
    if not found:
        raise RequestError("devices: the query finds no device", code="request.no_device")
    _refuse_strangers("canaries", request.canaries, found)
    return found


def _by_id(connection: Connection, ids: list[str]) -> tuple[Device, ...]:
    rows = rows_in(connection, select(devices).order_by(devices.c.device_id), devices.c.device_id, ids)
    found = tuple(device_records(connection, rows))
    _refuse_strangers("devices", ids, found)
    if retired := [device.device_id for device in found if device.state == "retired"]:
        raise RequestError(f"devices: retired: {', '.join(retired[:NAMED])}", code="request.retired_device")
    return found


def _by_query(connection: Connection, request: StartDeployment) -> tuple[Device, ...]:
    condition = tag_condition(request.devices.query or "")
    query = select(devices).where(condition, devices.c.state != "retired").order_by(devices.c.device_id)
    rows = connection.execute(query.limit(MAX_DEVICES + 1)).mappings().all()
    if len(rows) > MAX_DEVICES:
        raise RequestError(f"devices: the query finds more than {MAX_DEVICES} devices")
    return tuple(device_records(connection, rows))


def _refuse_strangers(field: str, ids: list[str], known: tuple[Device, ...]) -> None:
    if strangers := missing_of(ids, (device.device_id for device in known)):
        raise RequestError(
            f"{field}: not among the devices: {', '.join(strangers[:NAMED])}", code="request.unknown_device"
        )


def create_set(
    connection: Connection,
    request: StartDeployment,
    images: Mapping[str, Mapping[str, str]],
    manifest: Mapping[str, Any] | None,
    by: str,
    at: datetime,
    rollback_of: str | None,
    trace: str | None,
) -> DeploymentSet:
    """The ordinal is taken in this transaction, so that ordinals follow the order of commits."""
    chosen = select_devices(connection, request)
    set_id = new_id("set")
    ordinal = next_value(connection, "set")
    lock_devices(connection, [device.device_id for device in chosen])
    values = _values(request, images, manifest, by, at)
    kept = {"set_id": set_id, "ordinal": ordinal, "rollback_of": rollback_of, "trace": trace}
    connection.execute(sets.insert().values(**values, **kept))
    connection.execute(members.insert(), [_member(set_id, device, at) for device in chosen])
    remember(connection, "set", set_id, None, SET.initial, at, set_id=set_id, who=by)
    return known_set(connection, set_id)


def _values(
    request: StartDeployment,
    images: Mapping[str, Mapping[str, str]],
    manifest: Mapping[str, Any] | None,
    by: str,
    at: datetime,
) -> dict[str, Any]:
    owner = _owner(request)
    return {
        "state": SET.initial,
        "name": request.name,
        "workstream": request.workstream,
        "owner_name": owner.name,
        "owner_email": owner.email,
        "ordered_by": by,
        "priority": request.priority,
        "release_policy": request.release,
        "release_by": request.release_by,
        "canaries": list(request.canaries),
        "promoted": False,
        "settle_at": request.deadline.astimezone(UTC) if request.deadline else None,
        "deadline": request.deadline.astimezone(UTC) if request.deadline else None,
        "overdue": False,
        "max_bytes_per_device": request.max_bytes_per_device,
        "max_bytes": request.max_bytes,
        "allow_full_bundles": request.allow_full_bundles,
        "manifest": manifest,
        "images": {reference: dict(platforms) for reference, platforms in images.items()},
        "release_requested": False,
        "plan_at": at,
        "created_at": at,
        "updated_at": at,
        "locks": 0,
    }


def _owner(request: StartDeployment) -> Owner:
    if request.owner is None:
        raise RequestError("owner: name the person who orders the set, and an address to write to")
    return request.owner


def _member(set_id: str, device: Device, at: datetime) -> dict[str, Any]:
    """Others are planned once their devices have told what they have."""
    plan_at = at if device.state == "active" else None
    values = {"set_id": set_id, "device_id": device.device_id, "state": MEMBER.initial}
    return {**values, "plan_at": plan_at, "updated_at": at}
