from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from demo.progress import Show, indented, plan_table, result_table
from tests.unit.demo.records import a_record


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def show(out: io.StringIO) -> Show:
    return Show(Console(file=out, width=110))


def a_transfer(state: str, bundle_bytes: int | None = 10_000_000) -> dict[str, Any]:
    return {"deviceId": "aurora", "reference": "app:2", "state": state, "bundleBytes": bundle_bytes}


def test_without_a_terminal_each_change_of_a_transfer_is_one_plain_line(show: Show, out: io.StringIO) -> None:
    with show.transfers() as bars:
        bars.update(a_transfer("queued", None), 0)
        bars.update(a_transfer("queued", None), 0)
        bars.update(a_transfer("receiving"), 2_500_000)
        bars.update(a_transfer("receiving"), 2_600_000)
        bars.update(a_transfer("succeeded"), 0)

    assert [line.split() for line in out.getvalue().splitlines()] == [
        ["aurora", "app:2", "queued"],
        ["aurora", "app:2", "receiving,", "2.50", "MB", "of", "10.0", "MB"],
        ["aurora", "app:2", "succeeded"],
    ]
    assert "\x1b" not in out.getvalue()


def test_steps_are_numbered(show: Show, out: io.StringIO) -> None:
    show.step("Making images")
    show.step("Starting the cloud")

    assert "1/8 Making images" in out.getvalue()
    assert "2/8 Starting the cloud" in out.getvalue()


def test_the_plan_says_what_each_device_will_get(show: Show, out: io.StringIO) -> None:
    image = {"reference": "app:2", "imageId": "i2", "alreadyPresent": False, "source": "i1"}
    present = {**image, "alreadyPresent": True, "source": None, "estimatedBytes": 0, "fullBytes": 121_000_000}
    planned = {**image, "estimatedBytes": 40_000, "fullBytes": 121_000_000}
    plan = {
        "devices": [
            {"deviceId": "boreas", "hoursOnLink": 0.01, "images": [planned]},
            {"deviceId": "calypso", "hoursOnLink": None, "images": [present]},
        ]
    }

    show.console.print(indented(plan_table(plan, {"i1": "app:1"})))

    rows = [line.split() for line in out.getvalue().splitlines()]
    assert rows[1] == ["boreas", "app:2", "app:1", "121", "MB", "40.0", "kB", "36", "s"]
    assert rows[2] == ["calypso", "app:2", "already", "there", "121", "MB", "–"]


def test_the_result_table_fits_the_narrowest_terminal_uncut() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(indented(result_table(a_record())))

    rows = [line.split() for line in out.getvalue().splitlines()]
    figures = "121 MB 24.6 MB 35.8 kB 0.15 % 1.1 s succeeded ✓"
    assert rows[3] == ["boreas", "app:2", "app:1", *figures.split()]
    assert "…" not in out.getvalue()
