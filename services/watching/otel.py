"""Spans and metrics by OpenTelemetry: to Application Insights, or to any collector that speaks OTLP.

Loaded only when one of the two is configured. Providers are our own and not the process's: what the SDKs of Azure
would trace by themselves stays out. Logs are not exported from here: the Functions host has every line already, and
sending them twice is the commonest complaint about this set-up (azure-functions-python-worker, issue 1342).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from imagedelta.errors import ImageDeltaError
from services.identity import Identity
from services.watching.log_fields import TRACE, about
from services.watching.metrics import COUNTER, GAUGE, METRICS, Metric
from services.watching.settings import TelemetrySettings
from services.watching.telemetry import Span, traceparent_of

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

_NAME = "imagedelta"
_MAX_LINKS = 32
_EXPORT_MILLISECONDS = 60_000
_STANDS_SECONDS = 150
"""Two ticks of the timer and a half."""


class OtelTelemetry:
    """The port ``Telemetry``; threads share it."""

    watched = True

    def __init__(
        self, spans: SpanProcessor, metrics: MetricReader, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        resource = Resource.create(_resource())
        self._tracers = TracerProvider(resource=resource)
        self._tracers.add_span_processor(spans)
        self._meters = MeterProvider([metrics], resource)
        self._tracer = self._tracers.get_tracer(_NAME)
        meter = self._meters.get_meter(_NAME)
        self._recorders = {one.name: _recorder(meter, one) for one in METRICS if one.kind != GAUGE}
        self._standing = {one.name: _Standing(meter, one, monotonic) for one in METRICS if one.kind == GAUGE}

    @contextmanager
    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **ids: str | None
    ) -> Iterator[Span]:
        known = {f"imagedelta.{name}": value for name, value in ids.items() if value is not None}
        context = trace.set_span_in_context(trace.NonRecordingSpan(_context(parent))) if parent else None
        linked = [Link(_context(link)) for link in dict.fromkeys(links[:_MAX_LINKS]) if link != parent]
        started = self._tracer.start_span(name, context, SpanKind.INTERNAL, known, linked)
        held = started.get_span_context()
        span = Span(_traceparent(held))
        with about(**ids, **{TRACE: trace.format_trace_id(held.trace_id)}):
            try:
                yield span
            except BaseException as error:
                _fail(started, error)
                raise
            finally:
                started.set_attributes(span.attributes)
                started.end()

    def record(self, metric: Metric, amount: float, **split: str) -> None:
        self._recorders[metric.name](amount, {name: split[name] for name in metric.split_by})

    def stand(self, metric: Metric, values: Mapping[str, float]) -> None:
        self._standing[metric.name].set(values)

    def flush(self) -> None:
        """Send what is held back; waits a few seconds at most."""
        self._tracers.force_flush(5_000)
        self._meters.force_flush(5_000)

    def close(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()


def make_telemetry(settings: TelemetrySettings, identity: Identity) -> OtelTelemetry:
    """To where the settings say."""
    spans, metrics = _azure(settings, identity) if settings.application_insights else _otlp()
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=_EXPORT_MILLISECONDS)
    return OtelTelemetry(BatchSpanProcessor(spans), reader)


def _azure(settings: TelemetrySettings, identity: Identity) -> tuple[Any, Any]:
    """Nothing lies on the small disk of an instance, and both kinds of statistics of the exporter itself are off."""
    os.environ.setdefault("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "true")
    os.environ.setdefault("APPLICATIONINSIGHTS_SDKSTATS_DISABLED", "true")
    from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter, AzureMonitorTraceExporter

    options: dict[str, Any] = {
        "connection_string": settings.application_insights,
        "disable_offline_storage": True,
        "credential": identity.credential if settings.by_identity else None,
    }
    return AzureMonitorTraceExporter(**options), AzureMonitorMetricExporter(**options)


def _otlp() -> tuple[Any, Any]:
    """OTEL_EXPORTER_OTLP_* say where, with which headers, and how long they wait."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), OTLPMetricExporter()


def _resource() -> dict[str, str]:
    """In Azure the app's name; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES outweigh it."""
    site = os.environ.get("WEBSITE_SITE_NAME", _NAME)
    instance = os.environ.get("WEBSITE_INSTANCE_ID") or str(os.getpid())
    given = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": site}
    return {**given, "service.instance.id": instance[:64]}


def _recorder(meter: Meter, metric: Metric) -> Any:
    """What notes a value."""
    if metric.kind == COUNTER:
        return meter.create_counter(metric.name, metric.unit, metric.meaning).add
    buckets = metric.buckets or None
    made = meter.create_histogram(metric.name, metric.unit, metric.meaning, explicit_bucket_boundaries_advisory=buckets)
    return made.record


class _Standing:
    """A gauge: how things stood when somebody last looked, if that is not long ago."""

    def __init__(self, meter: Meter, metric: Metric, monotonic: Callable[[], float]) -> None:
        self._split_by = metric.split_by
        self._monotonic = monotonic
        self._seen: tuple[float, Mapping[str, float]] | None = None
        meter.create_observable_gauge(metric.name, [self._observe], metric.unit, metric.meaning)

    def set(self, values: Mapping[str, float]) -> None:
        self._seen = (self._monotonic(), dict(values))

    def _observe(self, _: CallbackOptions) -> Iterator[Observation]:
        seen = self._seen
        if seen is None or self._monotonic() - seen[0] > _STANDS_SECONDS:
            return
        for split, value in seen[1].items():
            yield Observation(value, dict(zip(self._split_by, [split], strict=False)))


def _context(traceparent: str) -> SpanContext:
    """Of a span that ended elsewhere, perhaps weeks ago."""
    known = traceparent_of(traceparent)
    if known is None:
        return trace.INVALID_SPAN_CONTEXT
    _, trace_id, span_id, flags = known.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16) & 1))


def _traceparent(context: SpanContext) -> str:
    flags = int(context.trace_flags) & 1
    return f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}-{flags:02x}"


def _fail(span: trace.Span, error: BaseException) -> None:
    """The code, and never the text: it may hold what others wrote, or a secret."""
    code = error.code if isinstance(error, ImageDeltaError) else "internal"
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))
