"""Taking back what nobody wants any more: transfers cancelled, their bundles revoked on the device."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import not_, select

from store.kernel.ledger import Ledger
from store.kernel.schema import bundles, member_transfers, transfers
from store.kernel.tools import chunks
from store.sets.rows import wanted_by_a_member
from store.transfers.rows import linked_transfers


def withdraw(ledger: Ledger, set_id: str, device_ids: Iterable[str], states: Collection[str], detail: str) -> None:
    """Cancel the set's transfers in ``states`` to these devices that no member of an open set wants.

    The caller has moved the members already and holds the devices, so that no plan joins meanwhile.
    """
    for part in chunks(device_ids):
        unwanted = linked_transfers(
            ledger.connection,
            member_transfers.c.set_id == set_id,
            member_transfers.c.device_id.in_(part),
            transfers.c.state.in_(sorted(states)),
            not_(wanted_by_a_member(transfers.c.transfer_id)),
        )
        ledger.transfers((transfer for _set, _device, transfer in unwanted), "cancelled", detail=detail)
        revoke_bundles(ledger, [transfer.transfer_id for _set, _device, transfer in unwanted])
        ledger.twins_changed(part)


def revoke_bundles(ledger: Ledger, transfer_ids: Collection[str]) -> None:
    """Those of the present attempts; earlier ones are over."""
    present = select(transfers.c.attempt).where(transfers.c.transfer_id == bundles.c.transfer_id).scalar_subquery()
    for part in chunks(transfer_ids):
        these = (bundles.c.transfer_id.in_(part), bundles.c.attempt == present)
        ledger.connection.execute(bundles.update().where(*these).values(revoked_at=ledger.at))
