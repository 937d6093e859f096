"""What a pipeline can rely on: outcomes and their exit codes, errors as JSON, and what is not done unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagedelta.errors import DependencyError
from imagedelta_cli import api_options, exits
from imagedelta_cli.main import run
from imagedelta_cli.outcomes import Outcome, outcome_of_plan, outcome_of_set
from tests.unit.cli.test_api_commands import SET, host

__all__ = ["host"]


@pytest.mark.parametrize(
    ("changes", "outcome", "code"),
    [
        ({}, Outcome.COMPLETED, 0),
        ({"plannedBytes": 0, "sentBytes": 0}, Outcome.ALREADY_THERE, 7),
        ({"state": "completed_with_failures"}, Outcome.PARTLY_FAILED, 5),
        ({"state": "failed"}, Outcome.FAILED, 4),
        ({"state": "superseded"}, Outcome.FAILED, 4),
        ({"state": "awaiting_approval"}, Outcome.NEEDS_PERSON, 6),
        ({"state": "releasing", "troubles": [{"state": "conflict", "code": None}]}, Outcome.NEEDS_PERSON, 6),
        ({"state": "in_transit"}, Outcome.UNDER_WAY, 0),
    ],
)
def test_how_a_set_stands_has_a_word_and_an_exit_code(changes: dict[str, Any], outcome: Outcome, code: int) -> None:
    found = outcome_of_set({**SET, **changes})

    assert (found, found.exit_code) == (outcome, code)


@pytest.mark.parametrize(
    ("total", "states", "asks", "outcome"),
    [
        (0, {"planned": 2}, False, Outcome.ALREADY_THERE),
        (5, {"planned": 2}, False, Outcome.TO_SEND),
        (5, {"planned": 2}, True, Outcome.NEEDS_PERSON),
        (0, {"waiting_inventory": 2}, False, Outcome.TO_SEND),
    ],
)
def test_a_plan_is_already_there_only_where_every_device_was_planned(
    total: int, states: dict[str, int], asks: bool, outcome: Outcome
) -> None:
    planned = {"totalBytes": total, "states": states, "deviceCount": 2, "needsApproval": asks}

    assert outcome_of_plan(planned) is outcome


def test_already_there_is_told_by_the_exit_code_on_request_alone(host: Any) -> None:
    host(lambda method, path, body: {**SET, "plannedBytes": 0, "sentBytes": 0})

    assert run(["status", "set-1", "--watch", "--json"]) == exits.DONE
    assert run(["status", "set-1", "--watch", "--json", "--exit-code"]) == exits.ALREADY_THERE


def test_who_waits_for_a_person_is_told_what_to_decide(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host(lambda method, path, body: {**SET, "state": "awaiting_approval"})

    assert run(["status", "set-1", "--watch", "--timeout", "0"]) == exits.NEEDS_PERSON
    assert "imagedelta approve set-1" in capsys.readouterr().err


def away(times: int, then: dict[str, Any]) -> Any:
    """A host that is away for some looks: its app is deployed anew."""
    left = [times]

    def look() -> dict[str, Any]:
        left[0] -= 1
        if left[0] >= 0:
            raise DependencyError("host answered 503", code="dependency.host")
        return then

    return look


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(api_options.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(api_options.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def wait(look: Any, timeout: float = 3600) -> dict[str, Any]:
    found: dict[str, Any] = api_options.wait_for(
        look, lambda item: item["state"] == "completed", timeout=timeout, tell=lambda item: None
    )
    return found


def test_who_watches_is_not_put_off_by_a_host_that_is_away_for_a_while(clock: list[float]) -> None:
    assert wait(away(20, SET)) == SET


def test_a_host_that_stays_away_is_not_waited_for_until_the_end_of_the_time(clock: list[float]) -> None:
    with pytest.raises(DependencyError, match="503"):
        wait(away(10_000, SET))

    assert 300 <= clock[0] < 320


def test_a_host_that_is_away_when_the_time_is_over_is_told(clock: list[float]) -> None:
    with pytest.raises(DependencyError, match="503"):
        wait(away(10_000, SET), timeout=10)

    assert 10 <= clock[0] < 11


def test_what_is_not_over_in_time_is_still_under_way(clock: list[float]) -> None:
    with pytest.raises(api_options.StillUnderWay):
        wait(lambda: {**SET, "state": "in_transit"}, timeout=10)

    assert 10 <= clock[0] < 11


def test_with_json_an_error_is_the_last_line_of_stderr(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host(
        lambda method, path, body: {**SET, "state": "failed", "code": "seal.invalid", "detail": "Why", "remedy": "Do."}
    )

    assert run(["status", "set-1", "--watch", "--json"]) == exits.SET_FAILED

    out, err = capsys.readouterr()
    assert json.loads(out)["outcome"] == "failed"
    told = json.loads(err.splitlines()[-1])
    assert (told["exitCode"], told["error"]["code"], told["error"]["remedy"]) == (4, "seal.invalid", "Do.")


@pytest.mark.parametrize(
    "arguments",
    [
        ["cancel", "set-1"],
        ["sets", "exclude", "set-1", "boat"],
        ["devices", "retire", "boat"],
        ["devices", "replace", "b"],
    ],
)
def test_what_cannot_be_undone_is_refused_where_nobody_can_be_asked(
    host: Any, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    calls = host(lambda method, path, body: SET)

    assert run(arguments) == exits.REFUSED
    assert "code: cli.not_confirmed" in capsys.readouterr().err
    assert calls == []


def test_a_database_is_reconciled_unasked_only_to_look(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMAGEDELTA_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")

    assert run(["db", "reconcile", "--app", str(tmp_path)]) == exits.REFUSED
    assert "code: cli.not_confirmed" in capsys.readouterr().err
    run(["db", "reconcile", "--app", str(tmp_path), "--dry-run"])
    assert "cli.not_confirmed" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shell", "given"), [("bash", "1"), ("zsh", "1"), ("fish", "dep")], ids=["bash", "zsh", "fish"]
)
def test_a_shell_is_told_the_commands_that_begin_so(shell: str, given: str) -> None:
    asked = {"_IMAGEDELTA_COMPLETE": f"{shell}_complete", "COMP_WORDS": "imagedelta dep", "COMP_CWORD": given}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("imagedelta"))],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ("deploy" in done.stdout, "quarantine" in done.stdout, done.stderr) == (True, False, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_given_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_IMAGEDELTA_COMPLETE" in capsys.readouterr().out
