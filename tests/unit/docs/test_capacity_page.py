"""docs/capacity.md says what docs/benchmarks.md measured."""

from __future__ import annotations

import pytest

from benchmarks import capacity

PAGE = (capacity.DOCS / "capacity.md").read_text("utf-8")
BENCHMARKS = (capacity.DOCS / "benchmarks.md").read_text("utf-8")


def test_the_table_is_worked_out_from_the_figures_of_the_benchmarks() -> None:
    assert len(capacity.measured(BENCHMARKS)) >= 16
    assert capacity.page(PAGE, BENCHMARKS) == PAGE, "run python -m benchmarks.capacity"


def test_another_figure_makes_another_table() -> None:
    (_, _, first, _), *_ = capacity.measured(BENCHMARKS)

    assert capacity.page(PAGE, BENCHMARKS.replace(f"{first:,}", "1")) != PAGE


@pytest.mark.parametrize(
    ("size", "rate", "said"),
    [
        (1, 64_000, "1 s"),
        (8_000, 64_000, "1 s"),
        (8_001, 64_000, "2 s"),
        (480_000, 64_000, "1 min"),
        (10**9, 64_000, "34.7 h"),
    ],
)
def test_a_time_is_rounded_up_and_never_nothing(size: int, rate: int, said: str) -> None:
    assert capacity.duration(size, rate) == said
