"""Log lines of the cloud side: for people and for machines, with what they speak of."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagedelta.errors import ContentError
from services.watching.log_fields import about, log_fields
from services.watching.logs import set_up_logs
from services.watching.telemetry import NoTelemetry

log = logging.getLogger("tests.logs")
Lines = Callable[[str], list[str]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Set up as asked, say something, and see what came out."""
    root, stream = logging.getLogger(), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    before, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)

    def said(form: str) -> list[str]:
        set_up_logs(form)
        set_up_logs(form)
        with about(set_id="set-1", device_id=None, hub="north"):
            log.info("released\x1b[2J %s", "two\nlines")
        try:
            raise ContentError("no such layer", code="content.missing")
        except ContentError:
            log.exception("failed")
        return stream.getvalue().splitlines()

    yield said
    root.handlers[:] = before
    root.setLevel(level)


def test_a_machine_gets_one_object_a_line(lines: Lines) -> None:
    released, failed = (json.loads(line) for line in lines("json"))

    assert (
        released.items()
        >= {
            "level": "INFO",
            "logger": "tests.logs",
            "message": "released\x1b[2J two\nlines",
            "set_id": "set-1",
            "hub": "north",
        }.items()
    )
    assert "device_id" not in released and "set_id" not in failed
    assert (failed["code"], "ContentError: no such layer" in failed["exception"]) == ("content.missing", True)


def test_a_person_gets_the_hosts_own_lines_with_the_ids_at_their_end(lines: Lines) -> None:
    first, *_, last = lines("text")

    assert first.startswith("INFO released") and first.endswith("two [set_id=set-1 hub=north]")
    assert last.endswith("ContentError: no such layer")


def test_ids_hold_for_what_is_done_inside_and_for_nobody_else() -> None:
    with about(set_id="set-1"), ThreadPoolExecutor(1) as other:
        with about(device_id="ship-1", set_id="set-2"):
            inside = dict(log_fields())
        after, elsewhere = dict(log_fields()), dict(other.submit(log_fields).result())

    assert (inside, after, elsewhere) == ({"set_id": "set-2", "device_id": "ship-1"}, {"set_id": "set-1"}, {})


def test_unwatched_work_has_its_ids_on_its_lines_and_keeps_its_callers_trace() -> None:
    parent = "00-" + "a1" * 16 + "-" + "b2" * 8 + "-01"
    seen: dict[str, Any] = {}
    with NoTelemetry().span("release", parent=parent, set_id="set-1") as span:
        seen.update(log_fields())

    assert (seen, span.traceparent) == ({"set_id": "set-1", "trace_id": "a1" * 16}, parent)
