"""One trace from order to release, weeks long, and the figures of a fleet: by real providers, read in memory."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import event

from activities.watching import tell_how_things_stand
from contracts.channels import MAIL
from imagedelta.errors import DependencyError
from services.watching.metrics import METRICS
from services.watching.otel import OtelTelemetry
from services.watching.telemetry import NoTelemetry
from store.sql import SqlStore
from tests.simulators.fleet import FleetSimulator

ORDER = "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"
OTHER = "00-" + "c3" * 16 + "-" + "d4" * 8 + "-01"


class Watcher:
    """What was told, as an exporter gets it."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.telemetry = OtelTelemetry(SimpleSpanProcessor(self._spans), self._metrics)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    def under(self, traceparent: str) -> list[str]:
        """Names of spans that hang below this one, in order of their ends."""
        _, trace_id, span_id, _ = traceparent.split("-")
        found = []
        for span in self.spans:
            if span.parent is not None and f"{span.parent.span_id:016x}" == span_id:
                assert f"{span.context.trace_id:032x}" == trace_id
                found.append(span.name)
        return found

    def figures(self) -> dict[str, dict[tuple[Any, ...], Any]]:
        """Metric -> values of what it is split by -> value, or number and sum of a histogram."""
        data = self._metrics.get_metrics_data()
        figures: dict[str, dict[tuple[Any, ...], Any]] = defaultdict(dict)
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        key = tuple((point.attributes or {}).values())
                        value = getattr(point, "value", None)
                        figures[metric.name][key] = value if value is not None else (point.count, point.sum)
        return figures


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.telemetry.close()


@pytest.fixture
def watched(fleet: FleetSimulator, watcher: Watcher) -> FleetSimulator:
    fleet.deps = replace(fleet.deps, telemetry=watcher.telemetry)
    fleet.register("app:1", "app:2")
    return fleet


def test_everything_that_is_done_for_a_set_is_a_span_under_its_order(watched: FleetSimulator, watcher: Watcher) -> None:
    watched.enrol("ship-1", "app:1")
    watched.start("app:2", trace=ORDER)
    watched.run()

    names = watcher.under(ORDER)
    steps = ["begin_plan", "plan_batch", "weigh_set", "start_batch", "end_plan", "deliver_step"]
    timer = ["reports", "settle", "release", "confirm", "notify mail"]
    assert [name for name in (*steps, *timer) if name not in names] == []
    firsts = [names.index(name) for name in ("begin_plan", "deliver_step", "reports", "release", "confirm")]
    assert firsts == sorted(firsts)
    assert all(span.end_time - span.start_time < 60e9 for span in watcher.spans if span.end_time and span.start_time)


def test_a_patch_that_two_sets_wait_for_is_built_under_the_first_and_linked_to_the_other(
    watched: FleetSimulator, watcher: Watcher
) -> None:
    for name in ("ship-1", "ship-2"):
        watched.enrol(name, "app:1")
    watched.start("app:2", devices=["ship-1"], trace=ORDER)
    watched.start("app:2", devices=["ship-2"], trace=OTHER, workstream="other", manifest=False)
    watched.run()

    linked = [
        f"{link.context.trace_id:032x}"
        for span in watcher.spans
        if span.name == "deliver_step" and span.parent and span.parent.trace_id == int("a1" * 16, 16)
        for link in span.links
    ]
    assert set(linked) == {"c3" * 16}
    assert "reports" in watcher.under(OTHER) and "deliver_step" not in watcher.under(OTHER)


def test_a_set_that_was_ordered_unwatched_is_worked_for_all_the_same(watched: FleetSimulator, watcher: Watcher) -> None:
    watched.enrol("ship-1", "app:1")
    set_id = watched.start("app:2")
    watched.run()

    assert watched.set(set_id).state == "completed"
    assert {"release", "deliver_step"} <= {span.name for span in watcher.spans}


def test_the_figures_are_those_of_the_sets(watched: FleetSimulator, watcher: Watcher) -> None:
    watched.enrol("ship-1", "app:1")
    watched.enrol("ship-2", "app:1").breaks_with = "content.digest_mismatch"
    set_id = watched.start("app:2", manifest=False)
    watched.run()

    figures, arrived, now = watcher.figures(), watched.transfer(set_id, "ship-1"), watched.now()
    hours = watched.deps.store.transfers.timeseries("hour", now - timedelta(hours=9), now + timedelta(hours=1))
    assert figures["imagedelta.bytes.sent"] == {(): sum(hour["bytes"] for hour in hours)}
    assert figures["imagedelta.bytes.saved"] == {(): arrived.full_bytes - (arrived.bytes_fetched or 0)}
    assert figures["imagedelta.transfers.ended"] == {("succeeded", ""): 1, ("failed", "content.digest_mismatch"): 1}
    [(builds, seconds)] = figures["imagedelta.build.duration"].values()
    assert builds == 1 and seconds > 0
    assert figures["imagedelta.notifications"] == {(MAIL, "sent"): 1}
    assert figures["imagedelta.devices"] == {("active",): 2}
    assert figures["imagedelta.messages"]["report", "applied"] >= 2


def test_how_things_stand_is_told_at_every_tick(watched: FleetSimulator, watcher: Watcher) -> None:
    watched.enrol("ship-1", "app:1")
    watched.enrol("ship-2", "app:1", silent=True)
    watched.start("app:2", devices=["ship-1"])
    watched.tick()
    before = watcher.figures()
    watched.mail.refused.add("olga@example.com")
    watched.now.forward(days=4)
    watched.deps.store.sets.cancel(
        watched.deps.store.sets.list_sets(owner=None, state=None, workstream=None, limit=1, after=None).items[0].set_id,
        "olga",
        watched.now(),
    )
    watched.start("app:1", devices=["ship-1"], manifest=False)
    watched.tick()
    after = watcher.figures()

    assert before["imagedelta.transfers"] == {("published",): 1}
    assert before["imagedelta.devices"] == {("active",): 1, ("enrolled",): 1}
    assert (before["imagedelta.devices.silent"], after["imagedelta.devices.silent"]) == ({(): 0}, {(): 1})
    assert after["imagedelta.notifications.dead"] == {(MAIL,): 1}


def test_the_age_of_what_is_due_tells_that_the_timer_stood_still(watched: FleetSimulator, watcher: Watcher) -> None:
    watched.enrol("ship-1", "app:2")
    watched.start("app:2", manifest=False)
    for nth in range(1, 30):
        watched.mail.calls.fail("send", nth, error=DependencyError("down", code="mail.deferred"))
    watched.tick()
    watched.now.forward(hours=1)
    tell_how_things_stand(watched.deps)

    age = watcher.figures()["imagedelta.due.age"]["notify",]
    assert timedelta(minutes=55) < timedelta(seconds=age) < timedelta(hours=1)


def test_no_metric_is_split_by_who_or_what_it_happened_to(watched: FleetSimulator, watcher: Watcher) -> None:
    for number in range(12):
        watched.enrol(f"ship-{number:02}", "app:1")
    for number in range(12):
        watched.start("app:2", devices=[f"ship-{number:02}"], name=f"Set {number}", workstream=f"work-{number}")
    watched.run()

    figures = watcher.figures()
    assert set(figures) <= {metric.name for metric in METRICS}
    texts = {str(value) for points in figures.values() for key in points for value in key}
    assert not any(word in text for text in texts for word in ("ship", "Set", "work-", "set-", "sha256", "@"))
    assert max(len(points) for points in figures.values()) <= 12


def test_no_text_of_others_and_no_secret_is_in_a_span(watched: FleetSimulator, watcher: Watcher) -> None:
    watched.enrol("ship-1", "app:1").breaks_with = "content.digest_mismatch"
    watched.start("app:2", name="canary-name", trace=ORDER)
    watched.mail.calls.fail("send", error=DependencyError("canary-password"))
    watched.run()

    told = " ".join(span.to_json() for span in watcher.spans)
    assert "canary" not in told
    assert "olga" not in told


def test_unwatched_nothing_more_is_asked_of_sql(fleet: FleetSimulator) -> None:
    assert isinstance(fleet.deps.telemetry, NoTelemetry)
    store = fleet.deps.store
    assert isinstance(store, SqlStore)
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    fleet.start("app:2", trace=ORDER)
    seen: list[str] = []
    listener = event.listens_for(store._db.engine, "before_cursor_execute")(lambda *call: seen.append(call[2]))
    fleet.run()
    event.remove(store._db.engine, "before_cursor_execute", listener)

    assert not any("SELECT deployment_sets.set_id, deployment_sets.trace" in statement for statement in seen)


def test_log_lines_say_what_they_speak_of(
    watched: FleetSimulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.watching.logs import _Json

    lines: list[Mapping[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    keep = Keep()
    keep.setFormatter(_Json())
    logging.getLogger().addHandler(keep)
    caplog.set_level(logging.INFO)
    try:
        watched.enrol("ship-1", "app:1")
        set_id = watched.start("app:2", trace=ORDER)
        watched.mail.calls.fail("send", error=DependencyError("down", code="mail.deferred"))
        watched.run()
    finally:
        logging.getLogger().removeHandler(keep)

    mails = [line for line in lines if line["logger"] == "activities.notices.send"]
    reports = [line for line in lines if line["logger"] == "triggers.hub_events" and "transfer_id" in line]
    assert (mails[0]["set_id"], mails[0]["trace_id"]) == (set_id, "a1" * 16)
    assert "notification_id" in mails[0]
    assert {line["device_id"] for line in reports} == {"ship-1"}
    assert {line["hub"] for line in reports} == {"north"}
