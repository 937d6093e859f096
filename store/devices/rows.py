"""Device rows as records: the reading half that images, devices and sets share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from contracts.records import Device, DeviceImage
from store.kernel.schema import device_images, device_tags, devices
from store.kernel.tools import as_record, rows_in, unknown


def device_records(connection: Connection, rows: Sequence[RowMapping]) -> list[Device]:
    ids = [row["device_id"] for row in rows]
    tags: dict[str, dict[str, str]] = {}
    for tag in rows_in(connection, select(device_tags), device_tags.c.device_id, ids):
        tags.setdefault(tag["device_id"], {})[tag["name"]] = tag["value"]
    return [as_record(Device, row, tags=tags.get(row["device_id"], {})) for row in rows]


def find_device(connection: Connection, device_id: str) -> Device | None:
    rows = connection.execute(select(devices).where(devices.c.device_id == device_id)).mappings().all()
    return device_records(connection, rows)[0] if rows else None


def known_device(connection: Connection, device_id: str) -> Device:
    """Raises: RequestError ``request.not_found`` (404)."""
    device = find_device(connection, device_id)
    if device is None:
        raise unknown("device", device_id)
    return device


def confirmed_images(connection: Connection, device_ids: Iterable[str]) -> dict[str, tuple[DeviceImage, ...]]:
    """What inventories have confirmed, in order of image ID; a device without images is absent."""
    query = select(device_images).order_by(device_images.c.image_id)
    found: dict[str, list[DeviceImage]] = {}
    for row in rows_in(connection, query, device_images.c.device_id, device_ids):
        found.setdefault(row["device_id"], []).append(as_record(DeviceImage, row))
    return {device_id: tuple(of_device) for device_id, of_device in found.items()}


def update_device(connection: Connection, device_id: str, **values: Any) -> None:
    connection.execute(devices.update().where(devices.c.device_id == device_id).values(**values))
