"""docs/observability.md names what there is to watch, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from activities import STEPS
from activities.attend import KINDS
from services.watching.log_fields import IDS, TRACE
from services.watching.metrics import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    shown = re.findall(
        r"^\| `(imagedelta\.[\w.]+)` \| (\w+) \| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE
    )
    known = [
        (metric.name, metric.kind, metric.unit, ", ".join(f"`{one}`" for one in metric.split_by) or "-", metric.meaning)
        for metric in METRICS
    ]

    assert shown == known


def test_the_table_of_log_fields_is_that_of_the_code() -> None:
    table = PAGE.split("## Logs")[1].split("Kusto")[0]

    assert set(re.findall(r"`(\w+_id|hub)`", table)) == {*IDS, TRACE}


def test_every_span_that_is_named_is_made() -> None:
    table = PAGE.split("| span | what |")[1].split("Attributes")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([a-z_]+)`", row.partition(" | ")[0])}

    assert named <= {step.__name__ for step in STEPS} | {kind.name for kind in KINDS} | {"reports"}


def test_every_metric_that_wakes_somebody_exists() -> None:
    alarms = PAGE.split("## What to be woken by")[1]

    assert set(re.findall(r"`(imagedelta\.[\w.]+)`", alarms)) <= {metric.name for metric in METRICS}
