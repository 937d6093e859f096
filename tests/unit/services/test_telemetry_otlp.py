"""Spans and metrics at real receivers, of OTLP and of Application Insights: what arrives, and what a bad one costs."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from imagedelta.errors import DependencyError
from services.factory import make_deps
from services.identity import Identity
from services.settings import load_settings
from services.watching.metrics import BUILD_SECONDS, BYTES_SENT, DUE_AGE
from services.watching.otel import OtelTelemetry, make_telemetry
from services.watching.telemetry import NoTelemetry, trace_id

PARENT = "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"


class Collector(ThreadingHTTPServer):
    """Keeps what is posted to it, by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> dict[str, Any]:
        found = {}
        for path, _, body in self.posted:
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    found.update({span.name: span for scope in resource.scope_spans for span in scope.spans})
        return found

    def metrics(self) -> dict[str, Any]:
        found = {}
        for path, _, body in self.posted:
            if path == "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    found.update({metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics})
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.posted.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        answer = b'{"itemsReceived": 1, "itemsAccepted": 1, "errors": []}' if "track" in self.path else b""
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def gauge(reader: InMemoryMetricReader) -> dict[Any, Any]:
    data = reader.get_metrics_data()
    metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
    return {p.attributes["kind"]: p.value for m in metrics if m.name == DUE_AGE.name for p in m.data.data_points}


def telemetry(**env: str) -> OtelTelemetry:
    return make_telemetry(load_settings(env).telemetry, Identity())


def test_a_collector_gets_spans_below_the_order_with_ids_and_links(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fleet-cloud")
    sent = telemetry(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    with sent.span("release", parent=PARENT, links=[PARENT.replace("a1", "c3")], set_id="set-1", hub=None) as span:
        span.attributes["imagedelta.result"] = "done"
    with pytest.raises(DependencyError), sent.span("confirm"):
        raise DependencyError("canary: what others wrote", code="dependency.hub")
    sent.close()

    release, confirm = collector.spans()["release"], collector.spans()["confirm"]
    assert (release.trace_id.hex(), release.parent_span_id.hex()) == ("a1" * 16, "b2" * 8)
    assert {one.key: one.value.string_value for one in release.attributes} == {
        "imagedelta.set_id": "set-1",
        "imagedelta.result": "done",
    }
    assert [link.trace_id.hex() for link in release.links] == ["c3" * 16]
    assert trace_id(span.traceparent) == "a1" * 16
    assert {one.key: one.value.string_value for one in confirm.attributes} == {"error.type": "dependency.hub"}
    assert confirm.trace_id.hex() != "a1" * 16
    assert not any(b"canary" in body for _, _, body in collector.posted)
    assert any(b"fleet-cloud" in body for _, _, body in collector.posted)


def test_a_collector_gets_counters_gauges_and_histograms(collector: Collector) -> None:
    sent = telemetry(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    sent.record(BYTES_SENT, 1000)
    sent.record(BYTES_SENT, 500)
    sent.stand(DUE_AGE, {"release": 12.5})
    sent.record(BUILD_SECONDS, 3.0, result="verified")
    sent.close()

    metrics = collector.metrics()
    assert metrics["imagedelta.bytes.sent"].sum.data_points[0].as_int == 1500
    assert metrics["imagedelta.bytes.sent"].unit == "By"
    assert metrics["imagedelta.due.age"].gauge.data_points[0].as_double == 12.5
    assert metrics["imagedelta.build.duration"].histogram.data_points[0].count == 1


def test_a_gauge_that_is_told_no_more_is_sent_no_more() -> None:
    """An instance that does not attend any longer must not say for ever how things stood."""
    clock = iter([0.0, 10.0, 20.0, 30.0, 200.0])
    reader = InMemoryMetricReader()
    sent = OtelTelemetry(SimpleSpanProcessor(InMemorySpanExporter()), reader, monotonic=lambda: next(clock))
    sent.stand(DUE_AGE, {"release": 900, "notify": 5})
    first = gauge(reader)
    sent.stand(DUE_AGE, {"notify": 6})
    second, third = gauge(reader), gauge(reader)
    sent.close()

    assert (first, second, third) == ({"release": 900, "notify": 5}, {"notify": 6}, {})


def test_an_order_that_its_caller_does_not_sample_is_not_sampled_either(collector: Collector) -> None:
    sent = telemetry(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    with sent.span("release", parent=PARENT[:-2] + "00") as span:
        pass
    sent.close()

    assert collector.spans() == {}
    assert span.traceparent is not None and span.traceparent.endswith("-00")


@pytest.mark.parametrize("parent", ["", "garbage", "00-" + "0" * 32 + "-" + "b" * 16 + "-01", "00-zz"])
def test_a_parent_that_is_none_begins_a_trace_of_its_own(collector: Collector, parent: str) -> None:
    sent = telemetry(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    with sent.span("release", parent=parent, links=[parent]):
        pass
    sent.close()

    assert collector.spans()["release"].parent_span_id == b""


@pytest.mark.parametrize("status", [429, 500, 400])
def test_a_collector_that_refuses_holds_up_no_work(collector: Collector, status: int) -> None:
    collector.status = status
    sent = telemetry(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    began = time.monotonic()
    for _ in range(5_000):
        with sent.span("release", parent=PARENT, set_id="set-1"):
            pass
    took = time.monotonic() - began
    sent.close()

    assert took < 5


def test_application_insights_gets_spans_of_the_order_and_metrics(collector: Collector) -> None:
    connection = f"InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint={collector.url}"
    before = set(threading.enumerate())
    sent = telemetry(APPLICATIONINSIGHTS_CONNECTION_STRING=connection)
    with sent.span("release", parent=PARENT, set_id="set-1"):
        pass
    sent.record(BYTES_SENT, 1000)
    sent.close()

    items = [item for path, _, body in collector.posted if "track" in path for item in json.loads(body)]
    [span] = [item for item in items if item["data"]["baseType"] == "RemoteDependencyData"]
    [figure] = [item for item in items if item["data"]["baseType"] == "MetricData"]
    assert (span["tags"]["ai.operation.id"], span["tags"]["ai.operation.parentId"]) == ("a1" * 16, "b2" * 8)
    assert span["data"]["baseData"]["properties"] == {"imagedelta.set_id": "set-1"}
    assert figure["data"]["baseData"]["metrics"][0]["name"] == "imagedelta.bytes.sent"
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not any("Metric" in name for name in left), "the exporter sends no statistics of its own"


_LOADED = """
import sys
from services.factory import make_deps
from services.settings import load_settings
import function_app
make_deps(load_settings({"LOCAL_BLOBS_DIR": sys.argv[1]}))
ours = ("opentelemetry.sdk", "opentelemetry.exporter", "azure.monitor")
print(*(name for name in sys.modules if name.startswith(ours)))
"""


def test_without_a_setting_nothing_of_it_is_loaded(tmp_path: Any) -> None:
    blobs = tmp_path / "state" / "blobs"
    command = [sys.executable, "-W", "ignore", "-c", _LOADED, str(blobs)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    assert ran.stdout.strip() == ""


def test_an_exporter_that_cannot_be_made_leaves_the_app_unwatched_and_working(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=no"}

    made = make_deps(load_settings({"LOCAL_BLOBS_DIR": str(tmp_path / "blobs"), **wrong}))

    assert isinstance(made.telemetry, NoTelemetry)
    assert "spans and metrics are not sent" in caplog.text
