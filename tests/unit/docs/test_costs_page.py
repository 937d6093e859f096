"""docs/costs.md shows what its script computes, from figures that stand in the documents it names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.azure_quantities import (
    CPU_MS,
    DATABASE_BYTES,
    POLLS,
    STATEMENTS,
    TICK_STATEMENTS,
    bill,
    form,
    main,
    quantities,
    table,
)

DOCS = Path(__file__).parents[3] / "docs"
MEASURED = {
    "plan": "first plan, a device",
    "publish": "publish, a bundle",
    "report": "report, in batches of 100",
    "release": "release, with its twin",
    "confirm": "confirm",
    "twin": "twin",
}


def measured(row: str) -> tuple[float, float]:
    """(CPU in ms, statements) of the column "now, 10,000"."""
    page = (DOCS / "benchmarks.md").read_text()
    found = re.search(rf"^\| {re.escape(row)} \|[^|]*\|[^|]*\| ([\d.]+) \(([\d.]+)\) \|", page, re.M)
    assert found, row
    return float(found[1]), float(found[2])


def test_the_table_is_what_the_script_computes() -> None:
    assert table() in (DOCS / "costs.md").read_text()


@pytest.mark.parametrize(("step", "row"), MEASURED.items())
def test_what_it_starts_from_was_measured(step: str, row: str) -> None:
    assert (CPU_MS[step], STATEMENTS[step]) == measured(row)


def test_the_tick_and_the_database_are_as_measured() -> None:
    assert measured("tick, nothing due")[1] == TICK_STATEMENTS
    assert f"| sum | 24,400 | 298,000 | {DATABASE_BYTES:,} |" in (DOCS / "schema.md").read_text()


def test_a_hundred_times_the_devices_is_a_hundred_times_what_is_theirs() -> None:
    small, large = quantities(100), quantities(10_000)

    assert large["Blob storage: lists, links always up"] == 100 * small["Blob storage: lists, links always up"]
    assert small["Blob storage: lists, links always up"] == 100 * POLLS
    assert large["Functions: executions of timers"] == small["Functions: executions of timers"]


def test_no_price_stands_on_the_page() -> None:
    assert not re.search(r"[$€£]\s?\d|\d\s?(USD|EUR)", (DOCS / "costs.md").read_text())


MESSAGES = "IoT Hub: messages of 4 KB"
PRICE = {"amount": 2, "currency": "EUR", "per": 1000, "on": "2026-11-30", "source": "an offer"}


def test_the_bill_is_quantity_by_price_with_its_day_and_source() -> None:
    told = bill(form() | {MESSAGES: PRICE})

    assert f"| {MESSAGES} | 16.40 | 1,640.00 | 2026-11-30 | an offer |" in told
    assert "| of 1 of 11 rows | 16.40 | 1,640.00 | | |" in told


@pytest.mark.parametrize(
    "wrong",
    [{"on": ""}, {"on": "yesterday"}, {"source": ""}, {"currency": ""}, {"per": 0}, {"amount": -1}, {"amount": "much"}],
    ids=str,
)
def test_a_price_that_is_not_whole_is_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({MESSAGES: PRICE | wrong}))

    assert main(["--prices", str(file)]) == 1


@pytest.mark.parametrize(
    "prices", [{}, {"rum": PRICE}, {MESSAGES: PRICE, "SQL: GB kept": PRICE | {"currency": "USD"}}, [], "x"], ids=str
)
def test_a_file_that_is_no_price_list_is_refused(prices: object, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(prices))

    assert main(["--prices", str(file)]) == 1


def test_the_form_is_what_the_bill_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--form"]) == 0
    printed = json.loads(capsys.readouterr().out)

    assert printed.keys() == quantities(1).keys()
    assert bill({row: each | PRICE for row, each in printed.items()}).count("an offer") == len(printed)
