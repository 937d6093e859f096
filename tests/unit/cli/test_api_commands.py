"""What commands that talk to a host print, and with which exit code they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta_cli import api_options
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.cells import bytes_text, duration_text
from imagedelta_cli.main import run
from imagedelta_cli.set_texts import next_step, remarks

IMAGE = "sha256:" + "a" * 64
SET: dict[str, Any] = {
    "setId": "set-1",
    "name": "app 2",
    "state": "completed",
    "code": None,
    "detail": None,
    "remedy": None,
    "overdue": False,
    "workstream": "default",
    "ownerName": "Ada",
    "ownerEmail": "ada@example.org",
    "orderedBy": "grace",
    "releasePolicy": "set",
    "releaseBy": "auto",
    "images": {"app:2": {"linux/amd64": IMAGE}},
    "plannedBytes": 1500,
    "sentBytes": 1400,
    "wholeBytes": 140_000,
    "approvedBy": None,
    "canaries": [],
    "promoted": False,
    "releaseRequested": False,
    "createdAt": "2030-01-01T00:00:00.123456Z",
    "updatedAt": "2030-01-01T00:00:00Z",
}
ORDER = ["--name", "n", "--owner", "Ada", "--email", "a@example.org", "--device", "boat"]

Answers = Callable[[str, str, Any], Any]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[tuple[str, str, Any]]]:
    """Give it ``(method, path, body) -> body``; it returns the calls that commands make."""

    def serve(answers: Answers) -> list[tuple[str, str, Any]]:
        calls: list[tuple[str, str, Any]] = []

        def handle(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content) if "json" in request.headers.get("content-type", "") else None
            path = request.url.raw_path.decode().removeprefix("/api/")
            calls.append((request.method, path, body))
            return httpx.Response(200, json=answers(request.method, path, body))

        def api(endpoint: Endpoint) -> Api:
            return Api(endpoint, client=httpx.Client(transport=httpx.MockTransport(handle)), pause=0)

        monkeypatch.setattr(api_options, "Api", api)
        monkeypatch.setenv("IMAGEDELTA_URL", "http://host")
        return calls

    return serve


def test_a_set_is_shown_without_what_is_not_known(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host(lambda method, path, body: SET)

    assert run(["cancel", "set-1", "--yes"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "planned      1.5 kB" in lines
    assert "sent         1.4 kB instead of 140.0 kB of whole images (1.0%)" in lines
    assert "owner        Ada <ada@example.org>" in lines
    assert "created      2030-01-01 00:00:00" in lines
    assert not any(line.startswith(("code", "detail", "what to do")) for line in lines)


def test_json_is_the_answer_of_the_host_as_it_came(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host(lambda method, path, body: SET)

    run(["cancel", "set-1", "--yes", "--json"])

    assert json.loads(capsys.readouterr().out) == SET


def test_an_order_is_sent_as_it_was_given(host: Any, tmp_path: Path) -> None:
    calls = host(lambda method, path, body: SET)
    manifest = tmp_path / "deployment.template.json"
    manifest.write_text('{"modulesContent": {}}')

    code = run(
        [
            *("deploy", *ORDER, "--device", "ship", "--manifest", str(manifest), "--value", "TAG=1=2"),
            *("--priority", "urgent", "--canary", "boat", "--max-bytes", "5", "--no-full-bundles"),
        ]
    )

    assert code == 0
    assert calls == [
        (
            "POST",
            "deployment-sets",
            {
                "name": "n",
                "workstream": "default",
                "owner": {"name": "Ada", "email": "a@example.org"},
                "devices": {"ids": ["boat", "ship"]},
                "release": "set",
                "releaseBy": "auto",
                "allowFullBundles": False,
                "manifest": {"modulesContent": {}},
                "values": {"TAG": "1=2"},
                "canaries": ["boat"],
                "priority": "urgent",
                "maxBytes": 5,
            },
        )
    ]


def test_a_plan_of_all_devices_reads_every_page(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def device(name: str) -> dict[str, Any]:
        return {"deviceId": name, "state": "planned", "images": []}

    first = {"devices": [device("a")], "next": "a", "deviceCount": 2, "totalBytes": 0, "needsApproval": False}
    calls = host(
        lambda method, path, body: (
            {"devices": [device("b")], "next": None} if "after=a" in path else {**first, "states": {"planned": 2}}
        )
    )

    assert run(["plan", *ORDER, "--image", "app:2", "--all", "--json"]) == 0

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [one["deviceId"] for one in told["devices"]] == ["a", "b"]
    assert (told["next"], told["deviceCount"], told["outcome"]) == (None, 2, "already_there")
    assert [path for _, path, *_ in calls] == ["deployment-sets?dryRun=true", "deployment-sets?dryRun=true&after=a"]


def test_a_plan_names_each_device_once_and_what_needs_approval(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    image = {
        "imageId": IMAGE,
        "alreadyPresent": False,
        "source": IMAGE,
        "sourceReferences": ["app:1"],
        "estimatedBytes": 3000,
        "fullBytes": 60_000,
        "unregistered": [],
    }
    here = {**image, "alreadyPresent": True, "source": None, "sourceReferences": [], "estimatedBytes": 0}
    nameless = {**image, "sourceReferences": []}
    whole = {**image, "source": None, "sourceReferences": [], "unregistered": ["host/big:1"], "estimatedBytes": 60_000}
    boat = {
        "deviceId": "boat",
        "state": "planned",
        "code": None,
        "detail": None,
        "images": [
            {**image, "reference": "app:2"},
            {**here, "reference": "tool:1"},
            {**nameless, "reference": "old:2"},
            {**whole, "reference": "big:2"},
        ],
        "estimatedBytes": 3000,
        "hoursOnLink": 0.5,
        "money": 0.006,
    }
    ship = {"deviceId": "ship", "state": "waiting_inventory", "detail": None, "images": [], "estimatedBytes": 0}
    ship |= {"code": "device.no_inventory", "remedy": "Start its module."}
    plan = {
        "devices": [boat, {**ship, "hoursOnLink": None, "money": None}],
        "next": "ship",
        "deviceCount": 2_000,
        "waiting": [{"code": "device.no_inventory", "remedy": "Start its module.", "devices": 1, "example": "ship"}],
        "warnings": [
            {"reference": "big:2", "held": ["host/big:1"], "devices": 1, "example": "boat", "estimatedBytes": 60_000}
        ],
        "totalBytes": 3000,
        "longestHours": 0.5,
        "hoursUnknown": 0,
        "totalMoney": 0.006,
        "moneyUnknown": 1,
        "needsApproval": True,
        "reasons": ["the set would send 3000 bytes, over maxBytes of 5"],
    }
    calls = host(lambda method, path, body: plan)

    assert run(["plan", *ORDER, "--image", "app:2"]) == 0

    assert calls[0][1] == "deployment-sets?dryRun=true"
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["boat", "app:2", "app:1", "60.0", "kB", "3.0", "kB", "5.0", "30", "min", "0.006"]
    assert rows[2][:4] == ["boat", "tool:1", "already", "there"]
    assert rows[3][:3] == ["boat", "old:2", "a" * 12]
    assert rows[4][:3] == ["boat", "big:2", "nothing"]
    assert rows[5][:2] == ["ship", "device.no_inventory"]
    said = [" ".join(row) for row in rows[7:]]
    assert said.pop(0) == "2 of 2,000 devices are shown."
    assert said[:3] == [
        "3.0 kB in all.",
        "30 min on the slowest link that is known.",
        "0.006 of money where the price is known.",
    ]
    assert said[3].startswith("Hours or money are unknown for 1 device: set the tags")
    said = said[4:]
    assert said[0] == "Needs approval: the set would send 3000 bytes, over maxBytes of 5"
    assert said[1] == "Waits for ship: device.no_inventory. Start its module."
    assert said[2].startswith("Warning: big:2 costs 60.0 kB; not registered but on boat: host/big:1. Register")


def test_a_set_says_what_it_waits_for_what_made_it_dear_and_what_to_do_next(
    host: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    member = {"deviceId": "boat", "state": "waiting_inventory", "code": None, "detail": None}
    member |= {"waitsFor": "hub.unknown_device", "plannedBytes": None, "sentBytes": 0, "updatedAt": SET["updatedAt"]}
    waiting = {"code": "hub.unknown_device", "remedy": "Create it.", "devices": 3, "example": "boat"}
    warning = {"reference": "app:2", "held": ["app:1"], "devices": 1, "example": "ship", "estimatedBytes": 5_000_000}
    trouble = {"state": "failed", "code": "disk.full", "remedy": "Free it.", "devices": 3, "named": ["ship", "tug"]}
    trouble |= {"detail": "2 bytes are free."}
    shown = {
        **SET,
        "state": "ready",
        "releasePolicy": "manual",
        "troubles": [trouble],
        "waiting": [waiting],
        "warnings": [warning],
        "memberStates": {"in_transit": 25},
        "transferStages": {"building": 1, "queued": 2},
    }
    page = {"items": [member] * 20, "next": None}
    host(lambda method, path, body: page if "members" in path else shown)

    assert run(["status", "set-1"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert "next step    imagedelta release set-1" in lines
    assert "devices      25 in transit" in lines
    at = lines.index("3 failed: ship, tug and 1 more. disk.full: 2 bytes are free. Free it.")
    assert lines[at + 1 : at + 3] == ["  imagedelta retry set-1 ship", "  imagedelta sets exclude set-1 ship"]
    assert "transfers    1 building, 2 queued" in lines
    assert "Waits for boat and 2 more: hub.unknown_device. Create it." in lines
    dear = "Warning: app:2 costs 5.0 MB; not registered but on ship: app:1. "
    assert f"{dear}Register it, so that later patches start from it." in lines
    assert lines[-2].split()[:3] == ["boat", "waiting_inventory", "hub.unknown_device"]
    assert lines[-1] == "5 more: imagedelta sets members set-1 --limit 25"


@pytest.mark.parametrize(
    ("state", "code", "means", "commands"),
    [
        ("conflict", "release.conflict", "in conflict, so that nothing", ["sets rebase", "sets skip"]),
        ("apply_failed", "release.unhealthy", "not running what was released", []),
        ("releasing", "dependency.hub", "waiting to be released", []),
        ("failed", "plan.needs_approval", "failed", []),
    ],
)
def test_each_trouble_says_what_it_means_and_who_has_to_decide(
    state: str, code: str, means: str, commands: list[str]
) -> None:
    trouble = {"state": state, "code": code, "detail": "Why", "remedy": "Do.", "devices": 1, "named": ["a b"]}

    said, *follow = remarks({**SET, "troubles": [trouble], "waiting": [], "warnings": []})

    assert said.startswith(f"1 {means}")
    assert said.endswith(f": a b. {code}: Why. Do.")
    assert follow == [f"  imagedelta {verb} set-1 'a b'" for verb in commands]


@pytest.mark.parametrize(
    ("found", "verb"),
    [
        ({"state": "awaiting_approval"}, "approve"),
        ({"state": "completed_with_failures", "troubles": [{"code": "plan.needs_approval"}]}, "approve"),
        ({"state": "ready", "releasePolicy": "manual"}, "release"),
        ({"state": "releasing", "canaries": ["boat"]}, "sets promote"),
    ],
)
def test_the_next_step_is_a_command_to_copy(found: dict[str, Any], verb: str) -> None:
    assert next_step({**SET, **found}) == f"imagedelta {verb} set-1"


@pytest.mark.parametrize(
    "found",
    [
        {"state": "in_transit", "releasePolicy": "manual", "canaries": ["boat"]},
        {"state": "ready", "releasePolicy": "manual", "releaseRequested": True},
        {"state": "releasing", "canaries": ["boat"], "promoted": True},
        {"state": "completed"},
    ],
)
def test_a_set_that_goes_on_by_itself_has_no_next_step(found: dict[str, Any]) -> None:
    assert next_step({**SET, **found}) is None


def test_a_device_says_what_it_waits_for_what_it_has_and_what_is_under_way(
    host: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    device = dict.fromkeys(
        [
            "heldReason",
            "registryAddress",
            "bytesPerSecond",
            "moneyPerMegabyte",
            "freeDiskBytes",
            "installationId",
            "heardAt",
            "silentSince",
            "missingSince",
        ]
    )
    device |= {"linkRate": None, "linkHours": None}
    device |= {"deviceId": "boat", "state": "active", "hub": "north", "platform": "linux/amd64", "tags": {}}
    device |= {"profiles": [], "trustedKeys": [], "lastInventoryAt": None, "enrolledAt": SET["createdAt"]}
    device |= {"waitsFor": "hub.unknown_device", "remedy": "Create it.", "hubDeviceId": "boat"}
    stray = {"imageId": IMAGE, "references": ["app:1"], "registered": False, "seenAt": None, "localDigest": None}
    moving = {"reference": "app:2", "stage": "building", "estimatedBytes": 3000, "bundleBytes": None, "code": None}
    moving |= {"updatedAt": SET["updatedAt"], "detail": None}
    answers = {
        "devices/boat": device,
        "devices/boat/images": {"items": [stray]},
        "transfers": {"items": [moving, {**moving, "reference": "old:1", "stage": "succeeded"}], "next": None},
    }
    host(lambda method, path, body: answers[path.partition("?")[0]])

    assert run(["devices", "show", "boat"]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["waits", "for", "hub.unknown_device"] in rows
    assert ["app:1", "a" * 12, "no", "-", "-"] in rows
    assert [row[:3] for row in rows if row and row[0] in ("app:2", "old:1")] == [["app:2", "building", "3.0"]]


def test_a_device_is_rebound_and_silent_ones_are_listed(host: Any) -> None:
    asked: list[tuple[str, str, Any]] = []

    def answer(method: str, path: str, body: Any) -> Any:
        asked.append((method, path, body))
        return {"items": [], "next": None} if method == "GET" else {"deviceId": "boat", "hub": "south"}

    host(answer)

    assert run(["devices", "rebind", "boat", "--hub", "south", "--hub-device-id", "vessel", "--json"]) == 0
    assert run(["devices", "rebind", "boat", "--hub", "south", "--json"]) == 0
    assert run(["devices", "list", "--silent"]) == 0

    assert asked[0] == ("POST", "devices/boat/rebind", {"hub": "south", "hubDeviceId": "vessel"})
    assert asked[1][2] == {"hub": "south"}
    assert "silent=true" in asked[2][1] and "missing" not in asked[2][1]


@pytest.mark.parametrize(
    ("state", "code"), [("completed", 0), ("completed_with_failures", 5), ("cancelled", 4), ("failed", 4)]
)
def test_waiting_ends_well_only_when_the_set_does(host: Any, state: str, code: int) -> None:
    host(lambda method, path, body: {**SET, "state": state})

    assert run(["status", "set-1", "--watch"]) == code


def test_waiting_may_stop_earlier(host: Any) -> None:
    host(lambda method, path, body: {**SET, "state": "in_transit"})

    assert run(["status", "set-1", "--watch", "--until", "in_transit"]) == 0
    assert run(["status", "set-1", "--watch", "--timeout", "0"]) == 9


def test_a_registration_that_failed_says_why(host: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(b"x")
    failed = {"state": "failed", "code": "content.truncated", "detail": "cut short", "remedy": "Send it again."}

    def answer(method: str, path: str, body: Any) -> Any:
        if path == "uploads":
            return {
                "uploadId": "u",
                "url": "http://blobs/u",
                "method": "PUT",
                "headers": {},
                "maxBytes": 10,
                "blockBytes": 8,
            }
        return {"registrationId": "r", **failed}

    host(lambda method, path, body: {} if path.startswith("/") else answer(method, path, body))

    assert run(["register", str(archive)]) == 1

    said = capsys.readouterr().err
    assert "cut short" in said
    assert "code: content.truncated" in said
    assert "what to do: Send it again." in said


def test_an_empty_list_says_so(host: Any, capsys: pytest.CaptureFixture[str]) -> None:
    host(lambda method, path, body: {"items": [], "next": None})

    assert run(["devices", "list"]) == 0
    assert capsys.readouterr().out == "None.\n"


def test_a_tag_that_is_no_pair_is_wrong_use(host: Any) -> None:
    calls = host(lambda method, path, body: {})

    assert run(["devices", "enrol", "boat", "--hub", "north", "--tag", "site"]) == 2
    assert calls == []


@pytest.mark.parametrize(
    "options",
    [
        ORDER,
        [*ORDER, "--image", "app:2", "--query", "tags.site = 'a'"],
        ["--name", "n", "--owner", "Ada", "--email", "a@example.org", "--image", "app:2"],
    ],
)
def test_an_order_without_images_or_with_two_kinds_of_devices_is_wrong_use(host: Any, options: list[str]) -> None:
    calls = host(lambda method, path, body: {})

    assert run(["deploy", *options]) == 2
    assert calls == []


def test_a_manifest_that_is_no_json_is_refused_before_anything_is_sent(host: Any, tmp_path: Path) -> None:
    calls = host(lambda method, path, body: {})
    (tmp_path / "m.json").write_text("{")

    assert run(["deploy", *ORDER, "--manifest", str(tmp_path / "m.json")]) == 1
    assert calls == []


def test_numbers_are_written_for_people() -> None:
    assert [bytes_text(count) for count in (0, 999, 1000, 1_500_000, 2_000_000_000_000)] == [
        *("0 B", "999 B", "1.0 kB", "1.5 MB", "2000.0 GB"),
    ]
    assert [duration_text(hours) for hours in (None, 0.01, 0.5, 36.25)] == [None, "36 s", "30 min", "36.2 h"]
