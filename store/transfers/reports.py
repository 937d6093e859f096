"""What a device says of one transfer, by report or repeated in an inventory's results.

Order within a transfer is (attempt, sequence); a message that is older, repeated, or about something that
is not the sender's changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from contracts.messages import LastResult, Report
from contracts.records import Device, Transfer
from contracts.states import BUNDLE_ARRIVED, DEVICE, TRANSFER
from services.store_port import Origin, Outcome
from store.devices.rows import find_device, twin_changed
from store.kernel.history import reported
from store.kernel.moves import move_transfer, requeue
from store.kernel.schema import bundles, device_images
from store.kernel.tools import lock_device
from store.sets.work import sets_with_work
from store.transfers.rows import find_transfer, known_transfer

UNKNOWN, DUPLICATE, STALE, APPLIED, HELD = "unknown", "duplicate", "stale", "applied", "held"


@dataclass(frozen=True)
class Told:
    """A report or a repeated result, by whom and when."""

    message: Report | LastResult
    who: str
    """``report`` or ``inventory``."""
    at: datetime
    max_attempts: int


def take_report(connection: Connection, origin: Origin, report: Report, module_id: str, max_attempts: int) -> Outcome:
    device = find_device(connection, origin.device_id)
    if refusal := stranger(origin, device, module_id):
        return refusal
    lock_device(connection, origin.device_id)
    transfer = find_transfer(connection, report.transfer_id)
    if transfer is None or transfer.device_id != origin.device_id or transfer.image_id != report.image_id:
        return Outcome(UNKNOWN, f"{origin.device_id} has no transfer {report.transfer_id} of {report.image_id}")
    result = apply_told(connection, transfer, Told(report, "report", origin.enqueued_at, max_attempts))
    sets = sets_with_work(connection, origin.device_id) if result == APPLIED else ()
    return Outcome(result, f"{report.state} of {report.message_id} while {transfer.state}", sets)


def stranger(origin: Origin, device: Device | None, module_id: str) -> Outcome | None:
    """Why a message is not believed, by the hub's own connection properties; None when it is."""
    if device is None or device.state == "retired":
        return Outcome(UNKNOWN, f"device {origin.device_id} is not enrolled")
    if origin.module_id != module_id:
        return Outcome(UNKNOWN, f"module {origin.module_id} of {origin.device_id} may not report")
    if device.hub != origin.hub:
        return Outcome(UNKNOWN, f"device {origin.device_id} belongs to hub {device.hub}, not {origin.hub}")
    if device.state == "held":
        return Outcome(HELD, f"device {origin.device_id} is held: {device.held_reason}")
    return None


def apply_told(connection: Connection, transfer: Transfer, told: Told) -> str:
    """Apply a message about this transfer; the caller holds its device's lock."""
    message = told.message
    if message.attempt > transfer.attempt:
        return UNKNOWN
    if message.attempt < transfer.attempt or message.sequence <= transfer.sequence:
        repeated = reported(connection, transfer.transfer_id, message.attempt, message.sequence)
        return DUPLICATE if repeated else STALE
    if transfer.state == "building" and message.state != "succeeded":
        # The bundle was fetched before its publisher wrote the mark, or the publisher died in between.
        move_transfer(connection, transfer, "published", DEVICE, told.at, who=told.who)
        transfer = known_transfer(connection, transfer.transfer_id)
    if message.state != transfer.state and not TRANSFER.allows(transfer.state, message.state, DEVICE):
        return STALE
    _move(connection, transfer, told)
    return APPLIED


def _move(connection: Connection, transfer: Transfer, told: Told) -> None:
    message = told.message
    values: dict[str, Any] = {
        "sequence": message.sequence,
        "code": message.code,
        "detail": message.detail,
        "who": told.who,
        "evidence_at": told.at,
        "bytes": _bundle_arrived(connection, transfer, told),
    }
    if (digest := getattr(message, "local_digest", None)) is not None:
        values["local_digest"] = digest
    move_transfer(connection, transfer, message.state, DEVICE, told.at, **values)
    if message.state == "source_missing":
        _choose_another_source(connection, known_transfer(connection, transfer.transfer_id), told)


def _bundle_arrived(connection: Connection, transfer: Transfer, told: Told) -> int | None:
    """Keep that the attempt's bundle is on the device, and what the link carried for it; its bytes the first time."""
    message = told.message
    counted = {
        name: value
        for name in ("bytes_fetched", "seconds_on_link")
        if (value := getattr(message, name, None)) not in (None, getattr(transfer, name))
    }
    first = transfer.received_at is None and ("bytes_fetched" in counted or message.state in BUNDLE_ARRIVED)
    if not first and not counted:
        return None
    values = counted | ({"received_at": told.at} if first else {})
    this = (bundles.c.transfer_id == transfer.transfer_id, bundles.c.attempt == transfer.attempt)
    connection.execute(bundles.update().where(*this).values(**values))
    return counted.get("bytes_fetched", transfer.bundle_bytes) if first else None


def _choose_another_source(connection: Connection, transfer: Transfer, told: Told) -> None:
    """Believe the device: the source is not there. Plan anew without it, as often as attempts allow."""
    message = told.message
    named = getattr(message, "missing_source", None)
    missing = [named] if named else list(transfer.sources or ())
    forget_images(connection, transfer.device_id, missing)
    refused = sorted({*transfer.refused_sources, *missing})
    if transfer.attempt >= told.max_attempts:
        move_transfer(
            connection,
            transfer,
            "failed",
            DEVICE,
            told.at,
            code=message.code or "source.missing",
            detail=f"no usable source after {transfer.attempt} attempts: {message.detail or ', '.join(missing)}",
            refused_sources=refused,
            who=told.who,
        )
    else:
        requeue(connection, transfer, DEVICE, told.at, refused_sources=refused, code=message.code, who=told.who)


def forget_images(connection: Connection, device_id: str, image_ids: list[str]) -> None:
    if image_ids:
        where = (device_images.c.device_id == device_id, device_images.c.image_id.in_(image_ids))
        connection.execute(device_images.delete().where(*where))
        twin_changed(connection, [device_id])
