"""What an inventory proves of the transfers to its device: decided on their accounts, in memory, then written at once.

Evidence beats every state that SQL believed: an image that is there has arrived, one that is gone is sent again,
and what starts from an image that is not there is planned anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, or_, select

from contracts.messages import LastResult, PresentImage
from contracts.records import Transfer
from contracts.states import ACTIVE_TRANSFER, ON_DEVICE, UNRELEASED_MEMBER
from store.kernel.ledger import UNPLANNED, Ledger
from store.kernel.schema import transfers
from store.kernel.tools import IDS, chunks, rows_in
from store.sets.links import relink
from store.sets.rows import wanted_by_a_member
from store.transfers.account_rows import account_of, held_transfers, write_accounts
from store.transfers.accounts import Account, Told

SENT = ACTIVE_TRANSFER - {"queued"}
"""Transfer states in which something was made, or is on its way."""


@dataclass
class Believed:
    """A transfer to the device, and by whom it is wanted."""

    account: Account
    wanted: bool
    """By a member of an open set; ``unreleased``: by one that is not released yet."""
    unreleased: bool

    @property
    def transfer(self) -> Transfer:
        return self.account.now


class Evidence:
    """The transfers to one device; the caller holds the device."""

    def __init__(self, believed: Sequence[Believed], results: Sequence[LastResult], at: datetime) -> None:
        self._believed = believed
        self._results = results
        self._at = at
        self._relinks: list[tuple[Transfer, Transfer]] = []
        self._unplanned: list[str] = []

    def replaced(self, keep: Collection[str], why: str = "the device was replaced") -> None:
        """The hardware is another one: nothing that was on the way or arrived is there, but for ``keep``."""
        for one in sorted(self._believed, key=lambda one: one.transfer.state in ACTIVE_TRANSFER):
            if one.transfer.state in SENT | ON_DEVICE and one.unreleased and one.transfer.image_id not in keep:
                self._send_again(one, why)
        for one in self._believed:
            if one.transfer.state in SENT:
                one.account.cancel(self._at, why)
        self._forget_plans(frozenset())

    def inventory(self, present: Mapping[str, PresentImage], max_attempts: int) -> None:
        self._repeat_results(max_attempts)
        self._finish_present(present)
        self._give_up_forgotten()
        for one in self._believed:
            heard_before = one.account.evidence_at is None or one.account.evidence_at < self._at
            gone = one.transfer.state in ON_DEVICE and one.transfer.image_id not in present
            if gone and one.unreleased and heard_before:
                self._send_again(one, "the image is gone from the device")
        self._forget_plans(present.keys())

    def write(self, connection: Connection, ledger: Ledger) -> None:
        for old, new in self._relinks:
            relink(connection, old, new)
        ledger.led_by([new.transfer_id for _, new in self._relinks])
        write_accounts(connection, ledger, [one.account for one in self._believed])
        for part in chunks(self._unplanned):
            these = (transfers.c.transfer_id.in_(part), transfers.c.state == "queued")
            connection.execute(transfers.update().where(*these).values(**UNPLANNED))

    def _repeat_results(self, max_attempts: int) -> None:
        """What reports would have said, had they arrived."""
        accounts = {one.transfer.transfer_id: one.account for one in self._believed}
        for result in self._results:
            accounts[result.transfer_id].tell(Told(result, self._at, max_attempts))

    def _finish_present(self, present: Mapping[str, PresentImage]) -> None:
        """An image that is there has arrived, whatever its transfer was thought to be doing."""
        for one in self._believed:
            transfer, image = one.transfer, present.get(one.transfer.image_id)
            failed = transfer.state == "failed" and one.wanted and self._active(transfer.image_id) is None
            if image is not None and (transfer.state in ACTIVE_TRANSFER or failed):
                one.account.arrived(self._at, image.local_digest)

    def _give_up_forgotten(self) -> None:
        """A device that knows a later attempt than SQL was sent it before a backup was restored: that id is taken, and
        what became of it is over. What is still wanted is planned anew, as a transfer of its own."""
        later = {result.transfer_id: result.attempt for result in self._results}
        for one in self._believed:
            transfer = one.transfer
            if transfer.state in ACTIVE_TRANSFER and later.get(transfer.transfer_id, 0) > transfer.attempt:
                one.account.cancel(self._at, "the device knows a later attempt, which the database has forgotten")

    def _send_again(self, one: Believed, detail: str) -> None:
        other = self._active(one.transfer.image_id)
        if other is None or other is one:
            one.account.lose(self._at, detail)
        else:
            self._relinks.append((one.transfer, other.transfer))
            other.wanted = other.unreleased = True

    def _active(self, image_id: str) -> Believed | None:
        """The one transfer of this image that is not finished."""
        its = (one for one in self._believed if one.transfer.image_id == image_id)
        return next((one for one in its if one.transfer.state in ACTIVE_TRANSFER), None)

    def _forget_plans(self, present: Collection[str]) -> None:
        """What waits to be sent from a source that is not there is planned anew, before it costs a byte."""
        for one in self._believed:
            sources = one.transfer.sources
            if one.transfer.state == "queued" and sources is not None and not set(sources) <= set(present):
                self._unplanned.append(one.transfer.transfer_id)


def read_evidence(connection: Connection, device_id: str, at: datetime, results: Sequence[LastResult] = ()) -> Evidence:
    news = _news(connection, device_id, results)
    rows = list(connection.execute(_OPEN, {"device": device_id}).mappings())
    found = {row["transfer_id"] for row in rows}
    for part in chunks({result.transfer_id for result in news} - found):
        rows += connection.execute(_NAMED, {"device": device_id, "ids": part}).mappings()
    rows.sort(key=lambda row: (row["created_at"], row["transfer_id"]))
    believed = [Believed(account_of(row), bool(row["wanted"]), bool(row["unreleased"])) for row in rows]
    return Evidence(believed, news, at)


def _of_device(which: ColumnElement[bool]) -> Select[Any]:
    unreleased = wanted_by_a_member(transfers.c.transfer_id, UNRELEASED_MEMBER)
    flags = (case((_WANTED, 1), else_=0).label("wanted"), case((unreleased, 1), else_=0).label("unreleased"))
    return held_transfers().add_columns(*flags).where(transfers.c.device_id == bindparam("device"), which)


_WANTED = wanted_by_a_member(transfers.c.transfer_id)
_OPEN = _of_device(or_(transfers.c.state.in_(sorted(ACTIVE_TRANSFER)), _WANTED))
_NAMED = _of_device(transfers.c.transfer_id.in_(IDS))


def _news(connection: Connection, device_id: str, results: Sequence[LastResult]) -> list[LastResult]:
    """Results that are about transfers of the device and later than what is known of them, in their order."""
    columns = (transfers.c.transfer_id, transfers.c.image_id, transfers.c.attempt, transfers.c.sequence)
    query = select(*columns).where(transfers.c.device_id == device_id)
    ids = {result.transfer_id for result in results}
    known = {row["transfer_id"]: row for row in rows_in(connection, query, transfers.c.transfer_id, ids)}

    def is_news(result: LastResult) -> bool:
        row = known.get(result.transfer_id)
        if row is None or row["image_id"] != result.image_id:
            return False
        return (row["attempt"], row["sequence"]) < (result.attempt, result.sequence)

    return sorted(filter(is_news, results), key=lambda result: (result.attempt, result.sequence))
