from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import FAILED, OK, BadResults, Result, append, best_peer, read
from tests.unit.benchmarks.records import RUN, a_result


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    append(tmp_path / "r.jsonl", "machine", RUN.machine)
    for result in RUN.results:
        append(tmp_path / "r.jsonl", "result", result)

    assert read(tmp_path / "r.jsonl") == RUN


def test_of_two_results_of_a_scenario_and_tool_the_later_counts(tmp_path: Path) -> None:
    for size in (10, 20):
        append(tmp_path / "r.jsonl", "result", a_result("web", "rdiff", size))

    assert [result.bytes for result in read(tmp_path / "r.jsonl").results] == [20]


@pytest.mark.parametrize("line", ["no json", "[]", "{}", '{"kind": "result", "scenario": "web"}'])
def test_a_line_that_is_no_result_is_named(tmp_path: Path, line: str) -> None:
    append(tmp_path / "r.jsonl", "machine", {"cores": "2"})
    with (tmp_path / "r.jsonl").open("a") as out:
        out.write(line + "\n")

    with pytest.raises(BadResults, match=r"r\.jsonl, line 2"):
        read(tmp_path / "r.jsonl")


@pytest.mark.parametrize(("status", "size"), [(OK, None), (FAILED, 5), ("fine", 5)])
def test_a_result_has_bytes_exactly_when_it_is_ok(status: str, size: int | None) -> None:
    with pytest.raises(ValueError, match="web, rdiff"):
        Result("web", "rdiff", status, 100, bytes=size)


def test_the_best_peer_is_never_ours_and_never_one_without_a_figure() -> None:
    web = [result for result in RUN.results if result.scenario == "web"]

    assert best_peer(web) == RUN.of("web", "hdiffpatch")
    assert best_peer([result for result in RUN.results if result.scenario == "recon"]) is None
