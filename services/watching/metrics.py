"""Every metric of the app, once: name, kind, unit, what it may be split by. Source: docs/observability.md.

What a metric is split by is few by nature: a state, a kind, a code. Never a device, a set, an image or a person: their
ids are in logs and spans.
"""

from __future__ import annotations

from dataclasses import dataclass

COUNTER, HISTOGRAM, GAUGE = "counter", "histogram", "gauge"
_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
_BYTES = (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)


@dataclass(frozen=True)
class Metric:
    name: str
    kind: str
    unit: str
    split_by: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()
    """Upper ends, of a histogram."""


BYTES_SENT = Metric("imagedelta.bytes.sent", COUNTER, "By", (), "of bundles that reached their devices")
BYTES_SAVED = Metric(
    "imagedelta.bytes.saved", COUNTER, "By", (), "images that arrived, whole and uncompressed, less their bundles"
)
TRANSFERS_ENDED = Metric(
    "imagedelta.transfers.ended", COUNTER, "{transfer}", ("state", "code"), "that succeeded or failed, by report"
)
MESSAGES = Metric(
    "imagedelta.messages", COUNTER, "{message}", ("kind", "result"), "of devices, and what became of them"
)
QUARANTINED = Metric("imagedelta.messages.quarantined", COUNTER, "{message}", ("code",), "that could not be taken")
BUILD_SECONDS = Metric(
    "imagedelta.build.duration", HISTOGRAM, "s", ("result",), "of work on a patch, all its steps", _SECONDS
)
PATCH_BYTES = Metric("imagedelta.build.size", HISTOGRAM, "By", (), "of a patch that was built", _BYTES)
STEPS_FAILED = Metric(
    "imagedelta.steps.failed", COUNTER, "{step}", ("step", "code"), "for good; sets and patches hang on"
)
REFUSALS = Metric("imagedelta.http.refusals", COUNTER, "{request}", ("operation", "code"), "requests that were refused")
NOTIFICATIONS = Metric(
    "imagedelta.notifications", COUNTER, "{notification}", ("channel", "result"), "mails and events: sent, later, dead"
)
ATTENDED = Metric(
    "imagedelta.attended", COUNTER, "{thing}", ("kind", "result"), "due things that the timer did, or put off"
)
DUE_AGE = Metric("imagedelta.due.age", GAUGE, "s", ("kind",), "how long the oldest due thing of a kind has waited")
TRANSFERS = Metric("imagedelta.transfers", GAUGE, "{transfer}", ("state",), "under way now")
NOTIFICATIONS_DEAD = Metric("imagedelta.notifications.dead", GAUGE, "{notification}", ("channel",), "that nobody got")
DEVICES = Metric("imagedelta.devices", GAUGE, "{device}", ("state",), "enrolled, active, held")
DEVICES_SILENT = Metric("imagedelta.devices.silent", GAUGE, "{device}", (), "active, and unheard of for three days")

METRICS = (
    *(BYTES_SENT, BYTES_SAVED, TRANSFERS_ENDED, MESSAGES, QUARANTINED, BUILD_SECONDS, PATCH_BYTES, STEPS_FAILED),
    *(REFUSALS, NOTIFICATIONS, ATTENDED, DUE_AGE, TRANSFERS, NOTIFICATIONS_DEAD, DEVICES, DEVICES_SILENT),
)
