"""Devices: enrolment, what they have, replacing and retiring them, and what their twin should hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, exists, select
from sqlalchemy.exc import IntegrityError

from contracts.messages import Inventory
from contracts.records import Device, DeviceImage, Page
from contracts.requests import EnrolDevice
from contracts.states import ACTIVE_TRANSFER, API, DEVICE_STATES, MEMBER, TIMER
from imagedelta.errors import RequestError
from services.store_port import Origin, Outcome, Senders, SyncClaim
from store.devices import silence, sync
from store.devices.bindings import rebind, require_free, senders
from store.devices.desired import wanted_of_device
from store.devices.inventories import forget_everything, take_inventory
from store.devices.rows import (
    confirmed_images,
    device_records,
    find_device,
    known_device,
    update_device,
)
from store.devices.silence import expect
from store.devices.states import move_device
from store.devices.tag_query import tag_condition
from store.kernel.due import twin_changed
from store.kernel.engine import Database
from store.kernel.ledger import Ledger
from store.kernel.moves import move_member
from store.kernel.paging import fetch_page
from store.kernel.schema import device_installations, device_tags, devices, members, old_bindings
from store.kernel.tools import lock_device, rows_in
from store.sets.rows import open_sets_of_device
from store.sets.waiting import plan_device, publish_to_device
from store.transfers.withdraw import withdraw


class SqlDevices:
    """Implements services.store_port.Devices."""

    def __init__(self, database: Database, module_id: str, max_attempts: int, silent_after: timedelta) -> None:
        self._db = database
        self._module_id = module_id
        self._max_attempts = max_attempts
        self._silent_after = silent_after

    def enrol(self, device_id: str, request: EnrolDevice, by: str, at: datetime) -> tuple[Device, bool]:
        return self._db.write(lambda connection: _enrol(connection, device_id, request, by, at, self._silent_after))

    def rebind(self, device_id: str, hub: str, hub_device_id: str, by: str, at: datetime) -> Device:
        return self._db.write(lambda connection: _rebind(connection, device_id, hub, hub_device_id, by, at))

    def senders(self, hub: str, hub_device_ids: Collection[str]) -> Senders:
        return self._db.read(lambda connection: senders(connection, hub, hub_device_ids))

    def device(self, device_id: str) -> Device | None:
        return self._db.read(lambda connection: find_device(connection, device_id))

    def machines(self) -> tuple[tuple[str, ...], ...]:
        query = select(devices.c.platform, devices.c.also_runs).where(devices.c.state != "retired")
        rows = self._db.read(lambda connection: connection.execute(query).all())
        return tuple(sorted({(platform, *also_runs) for platform, also_runs in rows}))

    def matching(self, query: str, device_ids: Collection[str]) -> frozenset[str]:
        found = select(devices.c.device_id).where(tag_condition(query))
        rows = self._db.read(lambda connection: rows_in(connection, found, devices.c.device_id, device_ids))
        return frozenset(row["device_id"] for row in rows)

    def list_devices(
        self,
        *,
        state: str | None,
        hub: str | None,
        tag: tuple[str, str] | None,
        silent: bool | None = None,
        missing: bool | None = None,
        limit: int,
        after: str | None,
    ) -> Page:
        query = select(devices)
        if state is not None:
            query = query.where(devices.c.state == state)
        if hub is not None:
            query = query.where(devices.c.hub == hub)
        for flag, since in ((silent, devices.c.silent_since), (missing, devices.c.missing_since)):
            if flag is not None:
                query = query.where(since.is_not(None) if flag else since.is_(None))
        if tag is not None:
            same = (device_tags.c.name == tag[0], device_tags.c.value == tag[1].strip())
            query = query.where(exists().where(device_tags.c.device_id == devices.c.device_id, *same))
        return self._db.read(
            lambda connection: fetch_page(
                connection, query, (devices.c.device_id,), device_records, limit=limit, after=after
            )
        )

    def images_on(self, device_id: str) -> tuple[DeviceImage, ...]:
        return self.images_on_many([device_id])[device_id]

    def images_on_many(self, device_ids: Sequence[str]) -> Mapping[str, tuple[DeviceImage, ...]]:
        found = self._db.read(lambda connection: confirmed_images(connection, device_ids))
        return {device_id: found.get(device_id, ()) for device_id in device_ids}

    def record_inventory(self, origin: Origin, inventory: Inventory) -> Outcome:
        return self._db.write(
            lambda connection: take_inventory(
                connection, origin, inventory, self._module_id, self._max_attempts, self._silent_after
            )
        )

    def retire(self, device_id: str, by: str, at: datetime) -> Device:
        return self._db.write(lambda connection: _retire(connection, device_id, by, at))

    def replace(self, device_id: str, by: str, at: datetime) -> Device:
        return self._db.write(lambda connection: _replace(connection, device_id, by, at))

    def resync(self, device_id: str, by: str, at: datetime) -> Device:
        return self._db.write(lambda connection: _resync(connection, device_id, at))

    def to_sync(self, at: datetime, limit: int) -> tuple[str, ...]:
        return self._db.read(lambda connection: sync.due_devices(connection, at, limit))

    def claim_sync(self, device_id: str, lease: timedelta, at: datetime) -> SyncClaim | None:
        return self._db.write(lambda connection: sync.claim(connection, device_id, at + lease, at))

    def desired_facts(self, device_id: str) -> Mapping[str, Any]:
        return self._db.read(lambda connection: wanted_of_device(connection, device_id))

    def synced(self, claim: SyncClaim, digest: str, renew_after: datetime | None, code: str | None) -> None:
        self._db.write(lambda connection: sync.synced(connection, claim, digest, renew_after, code))

    def unwell(self) -> Mapping[str, int]:
        return self._db.read(silence.unwell)

    def to_notice(self, at: datetime, limit: int) -> tuple[str, ...]:
        return self._db.read(lambda connection: silence.due(connection, at, limit))

    def notice_silent(self, device_ids: Sequence[str], at: datetime) -> None:
        self._db.write(lambda connection: silence.notice(connection, device_ids, at))

    def put_off_silence(self, device_ids: Sequence[str], until: datetime) -> None:
        self._db.write(lambda connection: silence.put_off(connection, device_ids, until))

    def put_off_syncs(self, hub: str, until: datetime, at: datetime) -> None:
        self._db.write(lambda connection: sync.put_off(connection, hub, until, at))

    def sync_failed(self, claim: SyncClaim, code: str | None, until: datetime) -> None:
        self._db.write(lambda connection: sync.failed(connection, claim, code, until))


def _enrol(
    connection: Connection, device_id: str, request: EnrolDevice, by: str, at: datetime, silent_after: timedelta
) -> tuple[Device, bool]:
    new = find_device(connection, device_id) is None and _insert(connection, device_id, request, at)
    lock_device(connection, device_id)
    device = known_device(connection, device_id)
    if device.state == "retired":
        raise RequestError(f"device {device_id} is retired", code="request.retired_device", status=409)
    hub_device_id = request.hub_device_id or device.hub_device_id
    if (request.hub, hub_device_id) != device.binding:
        rebind(connection, device, request.hub, hub_device_id, at, by)
    update_device(
        connection,
        device_id,
        registry_address=request.registry_address,
        bytes_per_second=request.bytes_per_second,
        money_per_megabyte=request.money_per_megabyte,
        **_link(device, request, at),
        **({} if device.last_inventory_at else {"platform": request.platform, "also_runs": request.also_runs}),
    )
    _write_tags(connection, device_id, request.tags)
    expect(connection, {device_id: device.heard_at or device.enrolled_at}, silent_after)
    return known_device(connection, device_id), new


def _link(device: Device, request: EnrolDevice, at: datetime) -> dict[str, Any]:
    """Columns of what the device may take of its link; its twin is written when that is another thing now."""
    rules = {"link_rate": request.link_rate, "link_hours": request.link_hours}
    same = (device.link_rate, device.link_hours) == (request.link_rate, request.link_hours)
    return rules if same else rules | twin_changed(at)


def _insert(connection: Connection, device_id: str, request: EnrolDevice, at: datetime) -> bool:
    """False when a rival enrolled it between the question and now."""
    hub_device_id = request.hub_device_id or device_id
    require_free(connection, device_id, request.hub, hub_device_id)
    connection.execute(old_bindings.delete().filter_by(hub=request.hub, hub_device_id=hub_device_id))
    values = {
        "device_id": device_id,
        "state": DEVICE_STATES.initial,
        "hub": request.hub,
        "hub_device_id": hub_device_id,
        "platform": request.platform,
        "also_runs": request.also_runs,
        "profiles": [],
        "trusted_keys": [],
        "bundle_forms": [],
        "enrolled_at": at,
        "resync": 1,  # other than what a device begins with: one that spoke before it was known speaks again
        "last_number": 0,
        "locks": 0,
        "sync_at": at,
        "sync_tries": 0,
    }
    try:
        with connection.begin_nested():
            connection.execute(devices.insert().values(**values))
    except IntegrityError:
        return False
    return True


def _rebind(connection: Connection, device_id: str, hub: str, hub_device_id: str, by: str, at: datetime) -> Device:
    lock_device(connection, device_id)
    device = known_device(connection, device_id)
    if device.state == "retired":
        raise RequestError(f"device {device_id} is retired", code="request.retired_device", status=409)
    if (hub, hub_device_id) != device.binding:
        rebind(connection, device, hub, hub_device_id, at, by)
    return known_device(connection, device_id)


def _write_tags(connection: Connection, device_id: str, tags: Mapping[str, str]) -> None:
    connection.execute(device_tags.delete().where(device_tags.c.device_id == device_id))
    rows = [{"device_id": device_id, "name": name, "value": value} for name, value in sorted(tags.items())]
    if rows:
        connection.execute(device_tags.insert(), rows)


def _retire(connection: Connection, device_id: str, by: str, at: datetime) -> Device:
    lock_device(connection, device_id)
    device = known_device(connection, device_id)
    if device.state == "retired":
        return device
    for set_id in open_sets_of_device(connection, device_id, MEMBER.states - MEMBER.terminal):
        _leave_set(connection, set_id, device_id, by, at)
        with Ledger(connection, API, at, by) as ledger:
            withdraw(ledger, set_id, [device_id], ACTIVE_TRANSFER, "the device was retired")
    move_device(connection, device, "retired", API, at, held_reason=None, silent_at=None, silent_since=None)
    return known_device(connection, device_id)


_LEAVING = {"releasing": ("failed", TIMER), "released": ("apply_failed", TIMER)}
"""A manifest that was set, or may have been, cannot be taken back: it is only never confirmed."""


def _leave_set(connection: Connection, set_id: str, device_id: str, by: str, at: datetime) -> None:
    query = select(members.c.state).where(members.c.set_id == set_id, members.c.device_id == device_id)
    state = connection.execute(query).scalar_one()
    new, mover = _LEAVING.get(state, ("excluded", API))
    if MEMBER.allows(state, new, mover):
        reason = {"code": "device.retired", "detail": "the device was retired"}
        move_member(connection, set_id, device_id, state, new, mover, at, who=by, **reason)


def _replace(connection: Connection, device_id: str, by: str, at: datetime) -> Device:
    lock_device(connection, device_id)
    device = known_device(connection, device_id)
    if device.state == "retired":
        raise RequestError(f"device {device_id} is retired", code="request.retired_device", status=409)
    forget_everything(connection, device, at, by)
    _forget_installations(connection, device_id)
    if device.state != DEVICE_STATES.initial:
        move_device(connection, device, DEVICE_STATES.initial, API, at, held_reason=None)
    return known_device(connection, device_id)


def _resync(connection: Connection, device_id: str, at: datetime) -> Device:
    lock_device(connection, device_id)
    device = known_device(connection, device_id)
    if device.state == "retired":
        raise RequestError(f"device {device_id} is retired", code="request.retired_device", status=409)
    if device.state == "held":
        _forget_installations(connection, device_id)
        move_device(connection, device, "active", API, at, held_reason=None)
        plan_device(connection, device_id, at)
        publish_to_device(connection, device_id, at)
    update_device(connection, device_id, resync=devices.c.resync + 1, **twin_changed(at))
    return known_device(connection, device_id)


def _forget_installations(connection: Connection, device_id: str) -> None:
    """Whatever installation is heard from next is the device."""
    connection.execute(device_installations.delete().where(device_installations.c.device_id == device_id))
    update_device(connection, device_id, installation_id=None)
