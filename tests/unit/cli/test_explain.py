"""Why a device is stuck: who has to act, in every state that a device, a transfer or a member can be in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.states import DEVICE_STATES, MEMBER, SET, STAGES, TRANSFER
from imagedelta_cli.explaining import ACTORS, Finding, explain
from imagedelta_cli.main import run
from tests.unit.cli.test_api_commands import SET as A_SET
from tests.unit.cli.test_api_commands import host

__all__ = ["host"]

DEVICE: dict[str, Any] = {
    "deviceId": "boat",
    "state": "active",
    "hub": "north",
    "heldReason": None,
    "waitsFor": None,
    "remedy": None,
    "missingSince": None,
    "silentSince": None,
    "heardAt": "2030-01-01T10:00:00Z",
    "enrolledAt": "2029-01-01T00:00:00Z",
}
TRANSFER_ITEM: dict[str, Any] = {
    "reference": "app:2",
    "stage": "published",
    "code": None,
    "detail": None,
    "remedy": None,
    "updatedAt": "2030-01-01T09:00:00Z",
}
MEMBER_ITEM: dict[str, Any] = {
    "deviceId": "boat",
    "state": "in_transit",
    "code": None,
    "detail": None,
    "remedy": None,
    "updatedAt": "2030-01-01T08:00:00Z",
}


def first(device: Any = None, transfer: Any = None, member: Any = None, of: Any = None) -> Finding:
    """The first finding, of things changed so."""
    transfers = [] if transfer is None else [{**TRANSFER_ITEM, **transfer}]
    sets = [] if member is None else [({**A_SET, "state": "in_transit", **(of or {})}, {**MEMBER_ITEM, **member})]
    return explain({**DEVICE, **(device or {})}, transfers, sets)[0]


def test_a_device_that_has_everything_is_not_stuck() -> None:
    found = explain(DEVICE, [{**TRANSFER_ITEM, "stage": "succeeded"}], [(A_SET, {**MEMBER_ITEM, "state": "applied"})])

    assert [(one.actor, one.stuck) for one in found] == [("nobody", False)]


@pytest.mark.parametrize(
    ("changes", "actor", "code", "command"),
    [
        ({"device": {"state": "retired"}}, "operator", None, None),
        ({"device": {"state": "held", "heldReason": "two answer"}}, "operator", "device.held", "devices resync boat"),
        ({"device": {"state": "enrolled"}}, "device", "device.no_inventory", "devices resync boat"),
        ({"device": {"missingSince": "2030-01-01T00:00:00Z"}}, "operator", None, None),
        ({"device": {"silentSince": "2030-01-01T00:00:00Z"}}, "device", None, None),
        ({"transfer": {"stage": "blocked", "code": "disk.full"}}, "device", "disk.full", None),
        ({"transfer": {"updatedAt": "2030-01-01T07:00:00Z"}}, "device", None, None),
        ({"member": {"state": "failed", "code": "x.y"}}, "operator", "x.y", "retry set-1 boat"),
        ({"member": {"state": "conflict", "code": "x.y"}}, "operator", "x.y", "sets rebase set-1 boat"),
        ({"member": {"state": "apply_failed"}}, "operator", None, "rollback set-1"),
        ({"member": {}, "of": {"state": "awaiting_approval"}}, "operator", None, "approve set-1"),
        (
            {"member": {"state": "ready"}, "of": {"state": "ready", "releasePolicy": "manual"}},
            "operator",
            None,
            "release set-1",
        ),
        (
            {"member": {"state": "failed"}, "of": {"state": "completed_with_failures"}},
            "operator",
            None,
            "retry set-1 boat",
        ),
    ],
)
def test_what_does_not_go_on_by_itself_says_who_must_act(
    changes: Any, actor: str, code: str | None, command: str | None
) -> None:
    finding = first(**changes)

    assert (finding.stuck, finding.actor, finding.code) == (True, actor, code)
    assert finding.command == (f"imagedelta {command}" if command else None)


@pytest.mark.parametrize(
    ("changes", "actor"),
    [
        ({"transfer": {"stage": "queued"}}, "cloud"),
        ({"transfer": {"stage": "published"}}, "link"),
        ({"transfer": {"stage": "receiving"}}, "link"),
        ({"transfer": {"stage": "applying"}}, "device"),
        ({"member": {"state": "ready"}}, "device"),
        ({"member": {"state": "ready"}, "of": {"state": "releasing"}}, "cloud"),
        ({"member": {"state": "released"}, "of": {"state": "released"}}, "device"),
        ({"member": {"state": "planned"}, "of": {"state": "preparing"}}, "cloud"),
    ],
)
def test_what_goes_on_by_itself_is_not_stuck(changes: Any, actor: str) -> None:
    finding = first(**changes)

    assert (finding.stuck, finding.actor) == (False, actor)


@pytest.mark.parametrize("state", ["applied", "excluded", "cancelled", "superseded"])
def test_a_member_that_is_out_of_its_set_does_not_wait_for_anybody(state: str) -> None:
    finding = first(member={"state": state}, of={"state": "awaiting_approval"})

    assert (finding.actor, finding.stuck) == ("nobody", False)


def test_what_is_stuck_comes_before_what_goes_on() -> None:
    found = explain(DEVICE, [TRANSFER_ITEM, {**TRANSFER_ITEM, "stage": "blocked", "detail": "No room."}], [])

    assert [one.stuck for one in found] == [True, False]
    assert found[0].what == "app:2 is blocked on the device: No room."
    assert found[0].since == "2030-01-01T09:00:00Z"


@pytest.mark.parametrize("state", sorted(DEVICE_STATES.states))
@pytest.mark.parametrize("stage", sorted({*STAGES, *TRANSFER.states}))
def test_every_state_of_a_device_and_its_transfers_has_words(state: str, stage: str) -> None:
    found = explain({**DEVICE, "state": state}, [{**TRANSFER_ITEM, "stage": stage}], [])

    assert found and all(one.actor in ACTORS and one.what.endswith(".") for one in found)


@pytest.mark.parametrize("state", sorted(MEMBER.states))
@pytest.mark.parametrize("of", sorted(SET.states))
def test_every_state_of_a_member_and_its_set_has_words(state: str, of: str) -> None:
    found = explain(DEVICE, [], [({**A_SET, "state": of}, {**MEMBER_ITEM, "state": state})])

    assert found and all(one.actor in ACTORS and one.what.endswith(".") for one in found)


def test_the_command_looks_into_open_sets_and_the_newest_of_each_workstream(host: Any, capsys: Any) -> None:
    sets = [
        {"setId": "set-4", "state": "in_transit", "workstream": "a"},
        {"setId": "set-3", "state": "completed", "workstream": "a"},
        {"setId": "set-2", "state": "completed_with_failures", "workstream": "b"},
        {"setId": "set-1", "state": "failed", "workstream": "b"},
    ]

    def answer(method: str, path: str, body: Any) -> Any:
        if path.startswith("devices/"):
            return DEVICE
        if path.startswith("transfers?"):
            return {"items": [], "next": None}
        if path.startswith("deployment-sets?"):
            return {"items": sets, "next": None}
        if "/members" in path:
            return {"items": [{**MEMBER_ITEM, "state": "failed"}], "next": None}
        return {**A_SET, "setId": path.rpartition("/")[2]}

    calls = host(answer)

    assert run(["explain", "boat", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    asked = {path.split("/")[1].partition("?")[0] for _, path, _ in calls if path.startswith("deployment-sets/")}
    assert asked == {"set-4", "set-2"}
    assert (found["device"], found["stuck"]) == ("boat", True)
    assert [one["command"] for one in found["findings"]] == [
        "imagedelta retry set-4 boat",
        "imagedelta retry set-2 boat",
    ]
