"""A short run of the fuzzer with a fixed seed; ``python -m tests.fuzz`` runs longer ones."""

import itertools
import re
import subprocess
import sys

import pytest

from tests.fuzz import run
from tests.fuzz.__main__ import SUBJECTS


def test_damaged_input_is_refused_or_right_within_bounded_time_and_memory():
    command = [sys.executable, "-m", "tests.fuzz", "--seed", "1", "--inputs", "60", "--seconds", "300"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"seed 1: {60 * len(SUBJECTS)} inputs" in done.stdout


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_same_seed_gives_the_same_inputs(subject):
    one, other = (run.fuzz({subject: SUBJECTS[subject]}, 5, seconds=60, inputs=8) for _ in range(2))

    assert one.outcomes == other.outcomes
    assert one.inputs == 8


def _hangs(rng):
    for _ in itertools.count():
        pass


def _crashes(rng):
    raise KeyError("not a refusal")


@pytest.mark.parametrize(("subject", "outcome"), [(_hangs, "TimeoutError"), (_crashes, "KeyError")])
def test_an_input_that_hangs_or_crashes_a_reader_fails_the_run_and_can_be_tried_again(monkeypatch, subject, outcome):
    monkeypatch.setattr(run, "INPUT_SECONDS", 0.05)

    report = run.fuzz({"good": lambda rng: "refused", "bad": subject}, 9, seconds=20, inputs=2)

    assert report.outcomes == {"good": {"refused": 2}, "bad": {f"FAILED {outcome}": 2}}
    assert [failure.split("\n")[0] for failure in report.failures] == [
        "--seed 9 --only 'bad' --replay 0",
        "--seed 9 --only 'bad' --replay 1",
    ]
    assert re.search(r"seed 9: 4 inputs in \d+ s, 2 failures", "\n".join(report.lines()))
