"""Taking back what nobody wants any more: transfers cancelled, their bundles revoked on the device."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import Connection, not_

from contracts.records import Transfer
from store.devices.rows import twin_changed
from store.kernel.moves import move_transfer
from store.kernel.schema import bundles, member_transfers, transfers
from store.sets.rows import wanted_by_a_member
from store.transfers.rows import linked_transfers


def withdraw_unwanted(
    connection: Connection,
    set_id: str,
    device_ids: Iterable[str],
    states: Collection[str],
    mover: str,
    at: datetime,
    *,
    who: str,
    detail: str,
) -> None:
    """Cancel the set's transfers in ``states`` that no member of an open set wants.

    The caller has moved the members already and holds the devices' locks, so that no plan joins meanwhile.
    """
    devices_left = set(device_ids)
    unwanted = linked_transfers(
        connection,
        member_transfers.c.set_id == set_id,
        transfers.c.state.in_(sorted(states)),
        not_(wanted_by_a_member(transfers.c.transfer_id)),
    )
    for _set, device_id, transfer in unwanted:
        if device_id in devices_left and move_transfer(
            connection, transfer, "cancelled", mover, at, who=who, detail=detail
        ):
            _revoke_bundle(connection, transfer, at)
    twin_changed(connection, devices_left)


def _revoke_bundle(connection: Connection, transfer: Transfer, at: datetime) -> None:
    this = (bundles.c.transfer_id == transfer.transfer_id, bundles.c.attempt == transfer.attempt)
    connection.execute(bundles.update().where(*this).values(revoked_at=at))
