"""Reports of devices: a batch is one transaction of a few statements, and leaves what its reports would leave singly.

Read, decide in memory in the order of the batch, write. What one of them fails is written before the next of its
device is heard, because a member that failed is not led on by what comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from contracts.messages import Report
from contracts.records import Device
from contracts.states import DEVICE
from services.store_port import Origin, Outcome
from store.devices.senders import heard_from, held_devices, stranger
from store.devices.silence import heard, is_news
from store.kernel.ledger import Ledger
from store.sets.waiting import sets_waiting_for
from store.transfers.account_rows import accounts_by_id, remember_heard, write_accounts
from store.transfers.accounts import APPLIED, UNKNOWN, Account, Told

Sent = tuple[Origin, Report]


def take_reports(
    connection: Connection, reports: Sequence[Sent], module_id: str, max_attempts: int, silent_after: timedelta
) -> tuple[Outcome, ...]:
    """What became of each, in their order."""
    senders = held_devices(connection, {origin.device_id for origin, _ in reports})
    accounts = accounts_by_id(connection, {report.transfer_id for _, report in reports})
    remember_heard(connection, accounts, [report for _, report in reports])
    batch = _Batch(connection, senders, accounts, module_id, max_attempts, silent_after)
    return tuple(batch.take(reports))


class _Batch:
    def __init__(
        self,
        connection: Connection,
        senders: dict[str, Device],
        accounts: dict[str, Account],
        module_id: str,
        max_attempts: int,
        silent_after: timedelta,
    ) -> None:
        self._connection = connection
        self._senders = senders
        self._accounts = accounts
        self._module_id = module_id
        self._max_attempts = max_attempts
        self._silent_after = silent_after
        self._told: dict[str, Account] = {}
        """Of transfers that have something to be written."""
        self._failing: set[str] = set()
        """Devices for which that is a failure."""

    def take(self, reports: Sequence[Sent]) -> list[Outcome]:
        outcomes = []
        for origin, report in reports:
            if origin.device_id in self._failing:
                self._write()
            outcomes.append(self._one(origin, report))
        self._write()
        taken = [sent for sent, outcome in zip(reports, outcomes, strict=True) if outcome.result == APPLIED]
        if not taken:
            return outcomes
        first = min(origin.enqueued_at for origin, _ in taken)
        heard_from(self._connection, {origin.device_id for origin, _ in taken}, first)
        last: dict[str, datetime] = {}
        for origin, _ in taken:
            last[origin.device_id] = max(origin.enqueued_at, last.get(origin.device_id, origin.enqueued_at))
        news = {device_id: at for device_id, at in last.items() if is_news(self._senders[device_id], at)}
        heard(self._connection, news, self._silent_after)
        waiting = self._to_plan([report for _, report in taken])
        return [
            replace(outcome, set_ids=tuple(waiting.get(report.transfer_id, ())))
            for outcome, (_, report) in zip(outcomes, reports, strict=True)
        ]

    def _one(self, origin: Origin, report: Report) -> Outcome:
        if refusal := stranger(origin, self._senders.get(origin.device_id), self._module_id):
            return refusal
        account = self._accounts.get(report.transfer_id)
        if account is None or not _is_about(account, origin, report):
            return Outcome(UNKNOWN, f"{origin.device_id} has no transfer {report.transfer_id} of {report.image_id}")
        state = account.now.state
        steps = len(account.steps)
        result = account.tell(Told(report, origin.enqueued_at, self._max_attempts))
        if account.steps:
            self._told[report.transfer_id] = account
        if account.has_failed:
            self._failing.add(origin.device_id)
        told = f"{report.state} of {report.message_id} while {state}"
        if result != APPLIED:
            return Outcome(result, told)
        arrived = sum(step.bytes or 0 for step in account.steps[steps:])
        return Outcome(result, told, transfer=account.now, arrived_bytes=arrived)

    def _write(self) -> None:
        if self._told:
            first = min(step.at for account in self._told.values() for step in account.steps)
            with Ledger(self._connection, DEVICE, first, "report") as ledger:
                write_accounts(self._connection, ledger, self._told.values())
        self._told, self._failing = {}, set()

    def _to_plan(self, taken: Sequence[Report]) -> dict[str, list[str]]:
        """Transfers that start another attempt are planned anew: the sets that wait for them."""
        missing = {report.transfer_id for report in taken if report.state == "source_missing"}
        requeued = [transfer_id for transfer_id in missing if self._accounts[transfer_id].now.state == "queued"]
        return sets_waiting_for(self._connection, requeued)


def _is_about(account: Account, origin: Origin, report: Report) -> bool:
    return account.now.device_id == origin.device_id and account.now.image_id == report.image_id
