"""Which versions of an image devices have: what an update to it would start from, fleet-wide.

One row for each such version of each device: the answer grows with the devices that have the image's repository, and
is added up to the few ways in which devices hold versions together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, select

from store.kernel.schema import device_images, devices, image_origins, images


def fleet_versions(connection: Connection, image_id: str) -> Mapping[frozenset[str], int]:
    """Registered versions that devices hold together -> how many devices hold just those.

    Versions are images of one of its repositories and its platform. Devices that have the image already are left out,
    and retired ones.
    """
    platform = select(images.c.platform).where(images.c.image_id == image_id).scalar_subquery()
    repositories = select(image_origins.c.repository).where(
        image_origins.c.image_id == image_id, image_origins.c.repository != ""
    )
    versions = (
        select(image_origins.c.image_id)
        .join(images)
        .where(image_origins.c.repository.in_(repositories), images.c.platform == platform)
    )
    query = (
        select(device_images.c.device_id, device_images.c.image_id)
        .join(devices)
        .where(device_images.c.image_id.in_(versions), devices.c.state != "retired")
    )
    held: dict[str, set[str]] = {}
    for device_id, version in connection.execute(query):
        held.setdefault(device_id, set()).add(version)
    return Counter(frozenset(together) for together in held.values() if image_id not in together)
