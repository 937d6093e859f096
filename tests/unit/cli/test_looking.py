"""What people look at: how a deployment does, what happened, who did it, and what could not be taken."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from imagedelta_cli import exits
from imagedelta_cli.commands import logs
from imagedelta_cli.main import run
from tests.unit.cli.test_api_commands import SET, host

__all__ = ["host"]

HEALTH: dict[str, Any] = {
    "status": "late",
    "version": "1.0",
    "checks": {"database": "ok"},
    "work": {"release": {"late": True}, "notify": {"late": False}},
    "devices": {"silent": 2, "missing": 0},
    "remedies": {},
}
EVENT: dict[str, Any] = {
    "at": "2030-01-01T00:00:01Z",
    "kind": "set",
    "subject": "set-1",
    "old": "accepted",
    "new": "planning",
    "who": None,
    "code": None,
    "detail": None,
}
STEP: dict[str, Any] = {
    "at": "2030-01-01T00:00:02Z",
    "transferId": "t-1",
    "attempt": 1,
    "old": "published",
    "new": "blocked",
    "source": "report",
    "code": "disk.full",
    "detail": "9 bytes are free",
}


def page(*items: Any, after: str | None = None) -> dict[str, Any]:
    return {"items": list(items), "next": after}


def query(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def test_the_overview_tells_of_health_late_work_and_open_sets(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    calls = host(lambda method, path, body: HEALTH if path == "health" else page({**SET, "state": "in_transit"}))

    assert run(["status"]) == exits.DONE

    said = capsys.readouterr().out
    assert [path.partition("?")[0] for _, path, _ in calls] == ["health", "deployment-sets"]
    assert query(calls[1][1])["state"] == "open"
    assert "late work   release" in said and "set-1" in said and "silent=2" in said


def test_a_deployment_without_its_database_is_told_and_is_worth_another_try(host: Any, capsys: Any) -> None:
    down = {**HEALTH, "status": "unavailable", "devices": None, "remedies": {"database": "Look at its firewall."}}
    calls = host(lambda method, path, body: down)

    assert run(["status", "--json"]) == exits.UNAVAILABLE

    assert len(calls) == 1
    assert json.loads(capsys.readouterr().out)["openSets"] == []


def test_the_log_of_a_set_is_read_page_by_page(host: Any, capsys: Any) -> None:
    pages = [page(EVENT, after="2"), page({**EVENT, "new": "ready"})]
    host(lambda method, path, body: pages.pop(0))

    assert run(["logs", "set-1", "--json"]) == exits.DONE
    assert [item["new"] for item in json.loads(capsys.readouterr().out)["items"]] == ["planning", "ready"]


def test_who_follows_a_log_gets_each_event_once_until_the_set_has_ended(
    host: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = [EVENT, {**EVENT, "new": "ready"}, {**EVENT, "new": "completed"}]
    looks = iter([1, 2, 3])
    seen = [0]

    def answer(method: str, path: str, body: Any) -> Any:
        if "/events" in path:
            return page(*news[: seen[0]])
        seen[0] = next(looks)
        return {**SET, "state": "completed" if seen[0] == 3 else "in_transit"}

    host(answer)
    monkeypatch.setattr(logs.time, "sleep", lambda seconds: None)

    assert run(["logs", "set-1", "--follow", "--json"]) == exits.DONE

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["new"] for line in lines] == ["planning", "ready", "completed"]


def test_the_log_of_a_device_puts_its_transfers_in_one_order(host: Any, capsys: Any) -> None:
    histories = {
        "t-1": page(STEP, {**STEP, "at": "2030-01-01T00:00:04Z", "new": "applying"}),
        "t-2": page({**STEP, "transferId": "t-2", "at": "2030-01-01T00:00:03Z"}),
    }

    def answer(method: str, path: str, body: Any) -> Any:
        if path.startswith("transfers?"):
            return page({"transferId": "t-1"}, {"transferId": "t-2"})
        return histories[path.split("/")[1]] if path.startswith("transfers/") else {"deviceId": "boat"}

    host(answer)

    assert run(["logs", "--device", "boat"]) == exits.DONE
    rows = [line for line in capsys.readouterr().out.splitlines() if "report" in line]
    assert ["t-1" in rows[0], "t-2" in rows[1], "applying" in rows[2]] == [True, True, True]


@pytest.mark.parametrize(
    "arguments", [[], ["set-1", "--device", "boat"], ["--device", "boat", "--follow"], ["--transfer", "t", "--follow"]]
)
def test_a_log_is_of_one_thing(host: Any, arguments: list[str]) -> None:
    host(lambda method, path, body: page())

    assert run(["logs", *arguments]) == exits.USAGE


def test_the_audit_log_is_asked_with_what_was_given(host: Any, capsys: Any) -> None:
    entry = {
        "at": "2030-01-01T00:00:00Z",
        "who": "Ada",
        "how": "person oid",
        "action": "set.start",
        "subject": "set-1",
        "detail": {"name": "n"},
    }
    calls = host(lambda method, path, body: page(entry))

    code = run(["audit", "--who", "Ada", "--action", "set.start", "--subject", "set-1", "--from", "a", "--to", "b"])

    assert code == exits.DONE
    assert query(calls[0][1]) == {
        "who": "Ada",
        "action": "set.start",
        "subject": "set-1",
        "from": "a",
        "to": "b",
        "limit": "100",
    }
    assert "set.start  set-1    person oid  name=n" in capsys.readouterr().out


def test_messages_in_quarantine_are_shown_without_what_could_harm_a_terminal(host: Any, capsys: Any) -> None:
    message = {
        "at": "2030-01-01T00:00:00Z",
        "firstAt": "2029-01-01T00:00:00Z",
        "count": 7,
        "hub": "north",
        "deviceId": "boat\x1b[2J",
        "moduleId": None,
        "reason": "message.unknown_sender",
        "detail": "no\nsuch device",
    }
    host(lambda method, path, body: page(message))

    assert run(["quarantine"]) == exits.DONE

    said = capsys.readouterr().out
    assert "message.unknown_sender" in said and "\x1b" not in said and len(said.splitlines()) == 2


@pytest.mark.parametrize("name", ["audit", "quarantine"])
def test_a_list_of_nothing_says_so(host: Any, capsys: Any, name: str) -> None:
    host(lambda method, path, body: page())

    assert run([name]) == exits.DONE
    assert capsys.readouterr().out == "None.\n"
