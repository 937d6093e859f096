"""What a device's twin should hold besides its SAS: images to keep, bundles withdrawn, pause, resync, what it may take
of its link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, or_, select

from contracts.states import ACTIVE_TRANSFER, ARRIVED, GONE_SET
from store.kernel.schema import bundles, devices, member_transfers, members, sets, transfers
from store.kernel.tools import unknown
from store.sets.rows import wanted_by_a_member
from store.transfers.publications import shared_patches

KEPT_SETS = 2
"""Of each workstream: the one that runs, and the one a rollback would return to."""
MAX_REVOKED = 100
"""Newest first; a desired property document holds 32 KiB."""


def wanted_of_device(connection: Connection, device_id: str) -> Mapping[str, Any]:
    """Raises: RequestError ``request.not_found``."""
    query = select(devices.c.state, devices.c.resync, devices.c.link_rate, devices.c.link_hours).where(
        devices.c.device_id == device_id
    )
    device = connection.execute(query).first()
    if device is None:
        raise unknown("device", device_id)
    wanted = _wanted_images(connection, device_id)
    standing = [image for image in _standing(connection, device_id) if image not in wanted]
    return {
        "keepImages": [*sorted(wanted), *standing],
        "revokedBundles": _revoked(connection, device_id),
        "patches": [] if device.state == "retired" else shared_patches(connection, device_id),
        "paused": device.state == "held",
        "resync": device.resync,
        "link": _link(device),
    }


def _link(device: Any) -> Mapping[str, Any] | None:
    """What is None is deleted from the twin, so that the device's own settings count again."""
    rules = {"bytesPerSecond": device.link_rate, "hours": device.link_hours}
    return None if set(rules.values()) == {None} else rules


def _wanted_images(connection: Connection, device_id: str) -> set[str]:
    """Images of open sets, and the sources that bundles on their way start from."""
    on_the_way = transfers.c.state.in_(sorted(ACTIVE_TRANSFER))
    query = select(transfers.c.image_id, transfers.c.sources, transfers.c.state).where(
        transfers.c.device_id == device_id, or_(on_the_way, wanted_by_a_member(transfers.c.transfer_id))
    )
    images: set[str] = set()
    for image_id, sources, state in connection.execute(query):
        images.update([image_id], (sources or ()) if state in ACTIVE_TRANSFER else ())
    return images


def _standing(connection: Connection, device_id: str) -> list[str]:
    """Images of the newest sets of each workstream that arrived on the device, the newest first."""
    query = (
        select(sets.c.workstream, sets.c.set_id, member_transfers.c.image_id)
        .join(members, members.c.set_id == sets.c.set_id)
        .join(
            member_transfers,
            (member_transfers.c.set_id == members.c.set_id) & (member_transfers.c.device_id == members.c.device_id),
        )
        .where(
            members.c.device_id == device_id,
            members.c.state.in_(sorted(ARRIVED)),
            sets.c.state.not_in(sorted(GONE_SET)),
        )
        .order_by(sets.c.ordinal.desc(), member_transfers.c.image_id)
    )
    kept: dict[str, list[str]] = {}
    images: dict[str, None] = {}
    for workstream, set_id, image_id in connection.execute(query):
        newest = kept.setdefault(workstream, [])
        if set_id not in newest and len(newest) < KEPT_SETS:
            newest.append(set_id)
        if set_id in newest:
            images[image_id] = None
    return list(images)


def _revoked(connection: Connection, device_id: str) -> list[str]:
    query = (
        select(bundles.c.transfer_id, bundles.c.attempt)
        .where(bundles.c.device_id == device_id, bundles.c.revoked_at.is_not(None))
        .order_by(bundles.c.number.desc())
        .limit(MAX_REVOKED)
    )
    return [f"{transfer_id}-{attempt}" for transfer_id, attempt in connection.execute(query)]
