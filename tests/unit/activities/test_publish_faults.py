"""Publishing when anything goes wrong once, and when two do it at the same time: in the end every bundle once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from activities.publish_batch import publish_batch
from contracts.outbox import outbox_container
from contracts.records import Transfer
from imagedelta.errors import DependencyError
from services.ports import BlobInfo
from tests.simulators.calls import Calls, Crash
from tests.unit.activities.bench import Bench
from tests.unit.activities.test_publish_batch import EVERY, fleet_of, run_to_the_end

FLEET = 2
CALLS = {
    "composed": {"claim": 1, "read": 1, "put_if_absent": FLEET, "compose_if_absent": FLEET, "finish": 1},
    "shared": {"claim": 1, "read": 1 + FLEET, "put_if_absent": FLEET, "finish": 1},
}
"""How often a batch asks what of SQL and blobs: the chunk list is read once, and the file of a shared bundle back."""


class Faulty:
    """A port whose calls are counted and go wrong on demand."""

    def __init__(self, port: object, calls: Calls) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._port, name)

        def run(*given: Any, **options: Any) -> Any:
            with self._calls.call(name):
                return method(*given, **options)

        return run


def faulty(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    bench.with_deps(blobs=Faulty(bench.blobs, calls))
    monkeypatch.setattr(bench.store, "publications", Faulty(bench.store.publications, calls))
    return calls


def stored(bench: Bench) -> dict[str, BlobInfo | None]:
    """Every blob of every outbox, as it was written."""
    containers = [outbox_container(f"ship-{number}") for number in range(FLEET)]
    return {name: bench.blobs.info(each, name) for each in containers for name in bench.blobs.names(each)}


def every_one_is_published_once(bench: Bench, form: str) -> bool:
    found = bench.store.transfers.list_transfers(**EVERY).items
    assert [(each.state, each.number) for each in found] == [("published", 1)] * FLEET
    for each in found:
        assert Counter(line.new for line in bench.store.transfers.history(each.transfer_id))["published"] == 1
        bundle = each.bundle or ""
        assert bench.blobs.names(outbox_container(each.device_id)) == (
            [bundle] if form == "shared" else [bundle, f"{bundle}.chunks"]
        )
    return True


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [DependencyError("away"), Crash()], ids=["away", "killed"])
@pytest.mark.parametrize(
    ("form", "call", "nth"),
    [(form, call, nth) for form in CALLS for call, times in CALLS[form].items() for nth in range(1, times + 1)],
)
def test_whatever_fails_once_the_next_run_publishes_all_and_replaces_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, form: str, call: str, nth: int, error: BaseException, after: bool
) -> None:
    first = fleet_of(bench, FLEET, shared=form == "shared")
    calls = faulty(bench, monkeypatch)
    calls.fail(call, nth, after=after, error=error)
    with suppress(DependencyError, Crash):
        run_to_the_end(bench, first)
    assert calls.count[call] >= nth
    before = stored(bench)

    run_to_the_end(bench, first)

    assert every_one_is_published_once(bench, form)
    assert {name: info for name, info in stored(bench).items() if name in before} == before


@pytest.mark.parametrize("form", CALLS)
def test_publishers_at_the_same_time_publish_every_bundle_once(bench: Bench, form: str) -> None:
    first = fleet_of(bench, FLEET, shared=form == "shared")

    with ThreadPoolExecutor(4) as pool:
        published = sum(pool.map(lambda _: run_to_the_end(bench, first), range(4)))

    assert published == FLEET
    assert every_one_is_published_once(bench, form)


def test_a_device_that_reports_before_the_mark_holds_up_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fleet_of(bench, FLEET)
    finish = bench.store.publications.finish

    def outrun(*given: Any, **options: Any) -> int:
        bench.report(bench.current(first), "receiving")
        return finish(*given, **options)

    monkeypatch.setattr(bench.store.publications, "finish", outrun)

    assert publish_batch(bench.deps, {"patchId": first.patch_id, "after": ""})["published"] == FLEET - 1
    states = {each.device_id: each.state for each in bench.store.transfers.list_transfers(**EVERY).items}
    assert states == {"ship-0": "receiving", "ship-1": "published"}


def test_a_raised_priority_between_two_tries_gives_no_second_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fleet_of(bench, FLEET)
    faulty(bench, monkeypatch).fail("finish", error=Crash())
    with pytest.raises(Crash):
        run_to_the_end(bench, first)
    raise_priority(bench, first)

    run_to_the_end(bench, first)

    assert every_one_is_published_once(bench, "composed")


def raise_priority(bench: Bench, transfer: Transfer) -> None:
    claim = bench.store.publications.claim

    def urgent(*given: Any, **options: Any) -> Any:
        found = claim(*given, **options)
        return tuple(replace(each, transfer=replace(each.transfer, priority="urgent")) for each in found)

    bench.store.publications.claim = urgent
    assert bench.current(transfer).priority == "normal"
