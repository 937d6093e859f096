"""What reports of devices say to whoever watches: bytes, ends, and a span under the order of each set they concern."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from contracts.records import Transfer
from contracts.states import OUTCOMES
from services.deps import Deps
from services.store_port import Outcome
from services.watching.metrics import BYTES_SAVED, BYTES_SENT, TRANSFERS_ENDED


def tell_reports(deps: Deps, outcomes: Iterable[Outcome]) -> None:
    """Of a batch that was taken; reports that changed nothing say nothing."""
    if not deps.telemetry.watched:
        return
    moved = []
    for outcome in outcomes:
        if outcome.transfer is not None:
            moved.append(outcome.transfer)
            deps.telemetry.record(BYTES_SENT, outcome.arrived_bytes)
            _tell_end(deps, outcome.transfer)
    _spans(deps, moved)


def _tell_end(deps: Deps, transfer: Transfer) -> None:
    if transfer.state not in OUTCOMES:
        return
    ended = {"state": transfer.state, "code": transfer.code or ""}
    deps.telemetry.record(TRANSFERS_ENDED, 1, **ended)
    if transfer.state == "succeeded":
        sent = transfer.bytes_fetched or transfer.bundle_bytes or 0
        deps.telemetry.record(BYTES_SAVED, max(transfer.full_bytes - sent, 0))


def _spans(deps: Deps, moved: Sequence[Transfer]) -> None:
    """One for each set, however many of its devices report at once."""
    states = {transfer.transfer_id: transfer.state for transfer in moved}
    of_set: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for transfer_id, set_id, trace in deps.store.traces.of_transfers(states):
        of_set[set_id, trace][states[transfer_id]] += 1
    for (set_id, trace), counted in of_set.items():
        with deps.telemetry.span("reports", parent=trace, set_id=set_id) as span:
            span.attributes.update({f"imagedelta.reports.{state}": count for state, count in counted.items()})
