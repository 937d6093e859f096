"""The benchmark of a fleet: what is counted, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from benchmarks.__main__ import main
from benchmarks.fleet_life import CHAPTERS
from benchmarks.fleet_meter import Cost, Meter
from benchmarks.fleet_report import details, picture, read, table
from benchmarks.results import BadResults
from store.kernel.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'some.db'}")
    yield opened
    opened.close()


def a_cost(step: str, devices: int, cpu_seconds: float) -> Cost:
    return Cost(step, devices, items=devices, statements=3 * devices, cpu_seconds=cpu_seconds)


def test_a_step_counts_its_statements_and_transactions_with_their_begin(database: Database) -> None:
    meter = Meter(database.engine, devices=7)

    with meter.step("ask", 2):
        database.read(lambda connection: [connection.execute(text("SELECT 1")) for _ in range(3)])
        database.read(lambda connection: connection.execute(text("SELECT 1")))
    database.read(lambda connection: connection.execute(text("SELECT 1")))

    (cost,) = meter.costs
    assert (cost.step, cost.devices, cost.items, cost.calls) == ("ask", 7, 2, 1)
    assert (cost.statements, cost.transactions, cost.most_statements) == (6, 2, 4)


def test_what_an_inner_step_costs_is_part_of_the_outer_one(database: Database) -> None:
    meter = Meter(database.engine, devices=1)

    with meter.step("outer"), meter.step("inner"):
        database.read(lambda connection: connection.execute(text("SELECT 1")))

    assert {cost.step: cost.statements for cost in meter.costs} == {"outer": 2, "inner": 2}


def test_the_table_sets_sizes_side_by_side_and_tells_the_growth_of_one_item() -> None:
    made = table([a_cost("plan", 10, 0.1), a_cost("plan", 100, 2.0), a_cost("rare", 100, 1.0)])

    assert made.header == ("step", "items", "ms, 10", "statements, 10", "ms, 100", "statements, 100", "growth")
    assert made.rows == (
        ("plan", "100", "10.00", "3.0", "20.00", "3.0", "2.00 ×"),
        ("rare", "100", "", "", "10.00", "3.0", ""),
    )


def test_the_picture_has_a_line_for_each_step_that_is_drawn() -> None:
    drawn = picture([a_cost("publish", 10, 0.1), a_cost("publish", 100, 2.0), a_cost("not drawn", 100, 1.0)])

    lines = ElementTree.fromstring(drawn).findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 1


def test_lines_of_json_are_read_as_they_were_printed(tmp_path: Path) -> None:
    costs = [a_cost("plan", 10, 0.1), a_cost("plan", 100, 2.0)]
    file = tmp_path / "costs.jsonl"
    file.write_text("".join(json.dumps(cost.document()) + "\n" for cost in costs))

    assert read(file) == costs


def test_a_line_that_is_no_cost_is_named(tmp_path: Path) -> None:
    file = tmp_path / "costs.jsonl"
    file.write_text('{"step": "plan"}\n')

    with pytest.raises(BadResults, match=r"costs\.jsonl, line 1"):
        read(file)


def test_a_small_fleet_is_measured_and_told_as_lines_of_json() -> None:
    told = CliRunner().invoke(main, ["fleet", "--devices", "2,4", "--until", "order", "--json"])

    costs = [json.loads(line) for line in told.output.splitlines()]
    assert told.exit_code == 0
    assert {cost["devices"] for cost in costs} == {2, 4}
    assert {(cost["items"], cost["devices"]) for cost in costs if cost["step"] == "first plan"} == {(2, 2), (4, 4)}
    assert all(cost["statements"] > 0 and cost["cpuSeconds"] > 0 for cost in costs if cost["step"] == "publish")


@pytest.mark.parametrize("sizes", ["many", "", "1"])
def test_a_fleet_of_no_size_is_refused(sizes: str) -> None:
    told = CliRunner().invoke(main, ["fleet", "--devices", sizes])

    assert (told.exit_code, "--devices takes" in told.output) == (2, True)


def test_details_are_of_the_largest_fleet() -> None:
    made = details([a_cost("plan", 10, 0.1), a_cost("plan", 100, 2.0)])

    assert [row[:3] for row in made.rows] == [("plan", "2.00", "300")]


def test_there_are_chapters_to_stop_after() -> None:
    assert list(CHAPTERS)[:2] == ["enrol", "order"]
