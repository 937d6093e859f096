"""The images that a device has, as its inventories confirm them: what has changed is written, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, select

from contracts.messages import PresentImage
from store.kernel.schema import device_images
from store.kernel.tools import chunks

_CHANGED = device_images.update().where(
    device_images.c.device_id == bindparam("this"), device_images.c.image_id == bindparam("image")
)


def confirm_images(connection: Connection, device_id: str, present: Mapping[str, PresentImage], at: datetime) -> None:
    """An inventory is whole: what it does not name is not there any more."""
    query = select(device_images).where(device_images.c.device_id == device_id)
    known = {row["image_id"]: row for row in connection.execute(query).mappings()}
    for part in chunks(known.keys() - present.keys()):
        these = (device_images.c.device_id == device_id, device_images.c.image_id.in_(part))
        connection.execute(device_images.delete().where(*these))
    new = [
        {"device_id": device_id, "image_id": image.image_id, "seen_at": at, **_told(image)}
        for image in present.values()
        if image.image_id not in known
    ]
    if new:
        connection.execute(device_images.insert(), new)
    changed = [
        {"this": device_id, "image": image.image_id, **_told(image)}
        for image in present.values()
        if image.image_id in known and _differs(known[image.image_id], image)
    ]
    if changed:
        connection.execute(_CHANGED, changed)


def forget_images_of(connection: Connection, device_id: str) -> None:
    connection.execute(device_images.delete().where(device_images.c.device_id == device_id))


def _told(image: PresentImage) -> dict[str, Any]:
    return {"references": list(image.references), "local_digest": image.local_digest}


def _differs(row: RowMapping, image: PresentImage) -> bool:
    return any(row[name] != value for name, value in _told(image).items())
