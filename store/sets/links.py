"""Which transfer brings an image to a member, and which of its attempts are the set's own.

A set pays for the attempts that are made while it waits: for nothing that was sent before it found the image on the
device, and for nothing that is sent for others once it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, exists, func, not_, or_, select

from contracts.records import Transfer
from contracts.states import ON_DEVICE, OPEN_SET, WANTING
from store.kernel.schema import bundles, member_transfers, members, sets
from store.kernel.tools import chunks

_LINK = member_transfers.c


def own_attempt(attempt: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether the attempt was, or is, made for the set of the link in the query around it."""
    return and_(attempt >= _LINK.since_attempt, or_(_LINK.until_attempt.is_(None), attempt <= _LINK.until_attempt))


def sent() -> ColumnElement[int]:
    """Bytes that crossed the link for a bundle: as the device counted them, else the bundle's size."""
    return func.coalesce(bundles.c.bytes_fetched, bundles.c.bytes, 0)


def first_attempt_to_come(transfer: Transfer) -> int:
    return transfer.attempt + 1 if transfer.state in ON_DEVICE else transfer.attempt


def relink(connection: Connection, old: Transfer, new: Transfer, set_id: str | None = None) -> None:
    """Members that wait for ``old`` (of one set, or of all) wait for ``new``; what was sent stays in their account."""
    if old.transfer_id == new.transfer_id:
        return
    these = waits() if set_id is None else _LINK.set_id == set_id
    connection.execute(
        member_transfers.update()
        .where(_LINK.transfer_id == old.transfer_id, these)
        .values(
            transfer_id=new.transfer_id,
            since_attempt=first_attempt_to_come(new),
            until_attempt=None,
            planned_before=_LINK.planned_before + _carried(old, bundles.c.estimated_bytes),
            sent_before=_LINK.sent_before + _carried(old, sent()),
        )
    )


def _carried(old: Transfer, what: ColumnElement[int]) -> ScalarSelect[int]:
    """The sum of ``what`` over bundles of ``old`` that arrived for the set of the link."""
    arrived = bundles.c.received_at.is_not(None)
    query = select(func.coalesce(func.sum(what), 0)).where(bundles.c.transfer_id == old.transfer_id, arrived)
    return query.where(own_attempt(bundles.c.attempt)).scalar_subquery().correlate(member_transfers)


def close_links(connection: Connection, transfers: Iterable[Transfer]) -> None:
    """Another attempt of these follows: links of those who no longer wait end with the present one."""
    ending: dict[int, list[str]] = {}
    for transfer in transfers:
        ending.setdefault(transfer.attempt, []).append(transfer.transfer_id)
    for attempt, transfer_ids in sorted(ending.items()):
        for part in chunks(transfer_ids):
            these = (_LINK.transfer_id.in_(part), _LINK.until_attempt.is_(None), not_(waits()))
            connection.execute(member_transfers.update().where(*these).values(until_attempt=attempt))


def reopen_links(connection: Connection, set_id: str, device_ids: Sequence[str]) -> None:
    """A person retries these members: they wait again. No more devices than go into one statement."""
    these = (_LINK.set_id == set_id, _LINK.device_id.in_(device_ids))
    connection.execute(member_transfers.update().where(*these).values(until_attempt=None))


def waits() -> ColumnElement[bool]:
    """A member of an open set that still wants its images; of the link in the statement around it."""
    return exists().where(
        members.c.set_id == _LINK.set_id,
        members.c.device_id == _LINK.device_id,
        members.c.state.in_(sorted(WANTING)),
        sets.c.set_id == members.c.set_id,
        sets.c.state.in_(sorted(OPEN_SET)),
    )
