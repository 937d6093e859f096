"""What a device says of its transfers, decided in memory: the account of a transfer takes one message after another.

Order within a transfer is (attempt, sequence); a message that is older, repeated, or that the state does not allow
changes nothing. An account knows what became of it and every step on the way, so that a batch of messages is
written at once (store.transfers.account_rows) and leaves what they would have left one by one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from contracts.messages import LastResult, Report
from contracts.records import Transfer
from contracts.states import BUNDLE_ARRIVED, DEVICE, TIMER, TRANSFER
from store.kernel.ledger import UNPLANNED, Step, Walk

UNKNOWN, DUPLICATE, STALE, APPLIED, HELD = "unknown", "duplicate", "stale", "applied", "held"

_COUNTED = ("bytes_fetched", "seconds_on_link")
_NO_BUNDLE: dict[str, Any] = dict.fromkeys(("number", "bundle", "bundle_bytes", "floor", "received_at", *_COUNTED))


@dataclass(frozen=True)
class Told:
    """A report or a repeated result, when, and how many attempts a transfer may take."""

    message: Report | LastResult
    at: datetime
    max_attempts: int


class Account:
    """One transfer, from what was read of it to what is to be written."""

    def __init__(self, transfer: Transfer, evidence_at: datetime | None) -> None:
        self.now = transfer
        self.evidence_at = evidence_at
        """When a device last told of it."""
        self.heard: set[tuple[int, int]] = set()
        """(attempt, sequence) of messages taken before; of those that matter."""
        self.begin()

    def begin(self) -> None:
        """What follows starts from what is written now."""
        self.before = self.now
        self.steps: list[Step] = []
        self.bundles: dict[int, dict[str, Any]] = {}
        """attempt -> columns of its bundle that have changed."""
        self.missing: set[str] = set()
        """Images that are not on the device, whatever its inventory said."""

    @property
    def walk(self) -> Walk:
        return Walk(self.before, self.now, self.evidence_at, tuple(self.steps))

    @property
    def requeued(self) -> bool:
        return self.now.attempt != self.before.attempt

    @property
    def has_failed(self) -> bool:
        return any(step.new == "failed" for step in self.steps)

    # ------------------------------------------------------------ what a device tells

    def tell(self, told: Told) -> str:
        """Take a message; what became of it."""
        message, number = told.message, (told.message.attempt, told.message.sequence)
        if message.attempt > self.now.attempt:
            return UNKNOWN
        if number <= (self.now.attempt, self.now.sequence):
            return DUPLICATE if number in self.heard else STALE
        if self.now.state == "building" and message.state != "succeeded":
            # The bundle was fetched before its publisher wrote the mark, or the publisher died in between.
            self._step("published", told.at)
        if message.state != self.now.state and not TRANSFER.allows(self.now.state, message.state, DEVICE):
            return STALE
        self._take(told)
        return APPLIED

    def _take(self, told: Told) -> None:
        message = told.message
        self.heard.add((message.attempt, message.sequence))
        self.evidence_at = told.at
        moved_bytes = self._bundle_arrived(told)
        local_digest = getattr(message, "local_digest", None) or self.now.local_digest
        self.now = replace(self.now, sequence=message.sequence, local_digest=local_digest)
        self._step(
            message.state,
            told.at,
            sequence=message.sequence,
            moved_bytes=moved_bytes,
            code=message.code,
            detail=message.detail,
        )
        if message.state == "source_missing":
            self._choose_another_source(told)

    def _bundle_arrived(self, told: Told) -> int | None:
        """Keep that the attempt's bundle is on the device, and what its link carried; its bytes the first time."""
        message, now = told.message, self.now
        told_of = {name: getattr(message, name, None) for name in _COUNTED}
        counted = {name: value for name, value in told_of.items() if value not in (None, getattr(now, name))}
        first = now.received_at is None and ("bytes_fetched" in counted or message.state in BUNDLE_ARRIVED)
        if now.number is None or not (first or counted):
            return None
        values: dict[str, Any] = counted | ({"received_at": told.at} if first else {})
        self.bundles.setdefault(now.attempt, {}).update(values)
        self.now = replace(now, **values)
        arrived: int | None = counted.get("bytes_fetched", now.bundle_bytes)
        return arrived if first else None

    def _choose_another_source(self, told: Told) -> None:
        """Believe the device: the source is not there. Plan anew without it, as often as attempts allow."""
        message, now = told.message, self.now
        named = getattr(message, "missing_source", None)
        missing = [named] if named else list(now.sources or ())
        self.missing.update(missing)
        refused = tuple(sorted({*now.refused_sources, *missing}))
        if now.attempt < told.max_attempts:
            self.send_again(told.at, code=message.code, refused_sources=refused)
            return
        self.now = replace(now, refused_sources=refused)
        why = f"no usable source after {now.attempt} attempts: {message.detail or ', '.join(missing)}"
        self._step("failed", told.at, code=message.code or "source.missing", detail=why)

    # ------------------------------------------------------------ what its inventory proves

    def arrived(self, at: datetime, local_digest: str | None) -> None:
        """The image is on the device."""
        self.evidence_at = at
        self.now = replace(self.now, local_digest=local_digest or self.now.local_digest)
        self._step("succeeded", at)

    def cancel(self, at: datetime, detail: str) -> None:
        self._step("cancelled", at, detail=detail)

    def send_again(
        self,
        at: datetime,
        mover: str = DEVICE,
        *,
        refused_sources: tuple[str, ...] = (),
        code: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Start the next attempt, without a plan: sources are chosen anew."""
        fresh: dict[str, Any] = {**UNPLANNED, **_NO_BUNDLE, "local_digest": None, "patch_state": None}
        self.now = replace(self.now, attempt=self.now.attempt + 1, sequence=0, refused_sources=refused_sources, **fresh)
        self._step("queued", at, mover, sequence=0, code=code, detail=detail)

    def lose(self, at: datetime, detail: str) -> None:
        """What was on the device, or on its way, is not there: the cloud sends it again by itself."""
        self.send_again(at, TIMER, detail=detail)

    def _step(
        self,
        new: str,
        at: datetime,
        mover: str = DEVICE,
        *,
        sequence: int | None = None,
        moved_bytes: int | None = None,
        code: str | None = None,
        detail: str | None = None,
    ) -> None:
        step = Step(self.now.state, new, at, mover, self.now.attempt, sequence, moved_bytes, code, detail)
        self.steps.append(step)
        self.now = replace(self.now, state=new, code=code, detail=detail, updated_at=at)


def earlier_messages(account: Account, told: Collection[Report | LastResult]) -> bool:
    """Whether any of these was perhaps taken before, so that history is to be asked."""
    reached = (account.now.attempt, account.now.sequence)
    return any((message.attempt, message.sequence) <= reached for message in told)
