from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import DOES_NOT_FIT, FAILED, NOT_FOR_THIS, NOT_INSTALLED, OK, Result
from benchmarks.running import Budget, measured, run_all
from benchmarks.scenarios import Placed, Scenario
from benchmarks.tools import Job, Steps, Tool

MB = 1_000_000


def shell(line: str) -> Steps:
    def steps(job: Job) -> list[list[str]]:
        words = {"source": job.old, "target": str(job.target), "patch": str(job.patch), "output": str(job.output)}
        return [["sh", "-c", line.format(**words)]]

    return steps


COPY = Tool("copy", "copy", shell("cp {target} {patch}"), shell("cp {patch} {output}"))


@pytest.fixture
def placed(tmp_path: Path) -> Placed:
    (tmp_path / "old.tar").write_bytes(b"old" * 1000)
    (tmp_path / "new.tar").write_bytes(b"new" * 1000)
    return Placed(Scenario("s", "old", "new", "words"), tmp_path / "old.tar", tmp_path / "new.tar")


def run(placed: Placed, tool: Tool, tmp_path: Path, *, seconds: float = 30) -> Result:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    result = measured(placed, tool, Budget(4_000 * MB, seconds), scratch)
    assert list(scratch.iterdir()) == []
    return result


def test_a_tool_that_rebuilds_the_target_has_figures(placed: Placed, tmp_path: Path) -> None:
    result = run(placed, COPY, tmp_path)

    assert (result.status, result.bytes, result.target_bytes, result.source_bytes) == (OK, 3000, 3000, 3000)
    assert result.build and result.apply and result.build.seconds < 5


def test_an_output_that_is_not_the_target_is_a_failure(placed: Placed, tmp_path: Path) -> None:
    wrong = Tool("wrong", "wrong", COPY.build, shell("cp {source} {output}"))

    result = run(placed, wrong, tmp_path)

    assert (result.status, result.bytes, result.reason) == (FAILED, None, "what was applied is not the target")


@pytest.mark.parametrize(("end", "words"), [("exit 3", "exit code 3"), ("kill -TERM $$", "ended by signal 15")])
def test_a_tool_that_ends_with_an_error_says_it(placed: Placed, tmp_path: Path, end: str, words: str) -> None:
    bad = Tool("bad", "bad", shell(f"echo no luck >&2; {end}"), COPY.apply)

    result = run(placed, bad, tmp_path)

    assert (result.status, result.reason) == (FAILED, f"{words}: no luck")


def test_a_tool_that_is_not_there_says_how_to_install_it(placed: Placed, tmp_path: Path) -> None:
    absent = Tool("absent", "absent", COPY.build, COPY.apply, ("no-such-program",), install="apt install it")

    result = run(placed, absent, tmp_path)

    assert (result.status, result.reason) == (NOT_INSTALLED, "apt install it")


def test_a_tool_that_would_not_fit_is_not_started(placed: Placed, tmp_path: Path) -> None:
    huge = Tool("huge", "huge", shell("touch started; exit 1"), COPY.apply, bytes_per_source_byte=2e6)

    result = run(placed, huge, tmp_path)

    assert (result.status, result.reason) == (DOES_NOT_FIT, "needs about 6 GB, given 4 GB")


def test_a_tool_that_takes_too_long_does_not_fit(placed: Placed, tmp_path: Path) -> None:
    slow = Tool("slow", "slow", shell("sleep 60"), COPY.apply)

    result = run(placed, slow, tmp_path, seconds=0.5)

    assert result.status == DOES_NOT_FIT and "not done after" in result.reason


def test_a_tool_that_needs_a_source_is_not_for_a_first_image(placed: Placed, tmp_path: Path) -> None:
    first = Placed(placed.scenario, None, placed.target)

    assert run(first, COPY, tmp_path).status == NOT_FOR_THIS


def test_what_is_known_is_not_measured_again(placed: Placed, tmp_path: Path) -> None:
    done: list[Result] = []

    for known in ((), {("s", "copy")}):
        run_all([placed], [COPY], Budget(4_000 * MB, 30), tmp_path, done.append, known)

    assert [(result.scenario, result.tool) for result in done] == [("s", "copy")]
