from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest

from activities.due_work import Run
from activities.release_members import ReleaseMembers
from contracts.records import Member
from imagedelta.errors import DependencyError
from planning.manifest import resolve
from tests.images import an_image
from tests.simulators.calls import Crash
from tests.unit.activities.bench import DEVICE, Bench

APP = an_image({"a": b"1"}, references=("fleet.example/app:2",))
MANIFEST = resolve(
    {
        "modulesContent": {
            "$edgeAgent": {"properties.desired": {"modules": {"app": {"settings": {"image": "fleet.example/app:2"}}}}},
            "app": {"properties.desired": {}},
        }
    },
    {},
)


def release(bench: Bench, set_id: str) -> str:
    """Do it if it is due; the state that the member is in afterwards."""
    settle(bench, set_id)
    for due in bench.store.releases.due(bench.now(), 10):
        ReleaseMembers().do(Run(bench.deps), due)
    return member(bench, set_id).state


def settle(bench: Bench, set_id: str) -> None:
    for _ in range(2):
        bench.store.sets.settle(set_id, bench.now())


def member(bench: Bench, set_id: str) -> Member:
    (found,) = bench.store.sets.members(set_id)
    return found


def test_a_manifest_is_set_once_and_recorded(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)

    assert (release(bench, set_id), release(bench, set_id)) == ("released", "released")

    record = bench.store.releases.release(set_id, DEVICE)
    twin = bench.hub.module_twin(DEVICE, "$edgeAgent")
    assert record is not None
    assert twin is not None
    assert twin.desired["modules"]["app"]["settings"]["image"] == "localhost:5000/app:2"
    assert (record.version, record.applied_by_us, record.modules) == (twin.version, True, ("app",))
    assert record.base_version == twin.version - 1
    assert record.previous["$edgeAgent"]["properties.desired"]["modules"] == {}
    assert len(bench.hub.applied) == 1


def test_one_that_was_set_before_a_crash_is_only_recorded_when_the_lease_is_over(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    bench.hub.calls.fail("apply_content", after=True, error=Crash())
    with pytest.raises(Crash):
        release(bench, set_id)
    assert release(bench, set_id) == "releasing"

    bench.now.forward(minutes=3)
    assert release(bench, set_id) == "released"

    record = bench.store.releases.release(set_id, DEVICE)
    assert record is not None
    assert (record.applied_by_us, len(bench.hub.applied)) == (False, 1)
    assert (record.base_version, record.version) == (1, 2), "the version is known as one of our own making"


def test_a_hub_that_is_away_is_tried_again(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    bench.hub.calls.fail("apply_content")

    assert release(bench, set_id) == "releasing"
    bench.now.forward(seconds=30)

    assert release(bench, set_id) == "released"


def test_a_hub_that_asks_to_be_left_alone_is_left_alone_so_long(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    error = DependencyError("429", code="dependency.hub", retry_after=timedelta(minutes=10))
    bench.hub.calls.fail("apply_content", error=error)

    release(bench, set_id)
    bench.now.forward(minutes=9)
    assert release(bench, set_id) == "releasing"
    bench.now.forward(minutes=1)

    assert release(bench, set_id) == "released"


def test_an_image_that_is_not_there_has_the_release_tried_again_later_and_later(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    set_at = bench.now()
    tries = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.store.devices), "images_on", lambda *given: ())
        patch.setattr(type(bench.store.transfers), "of_member", lambda *given: ())
        for _ in range(600):
            before = bench.hub.calls.count["module_twin"]
            assert release(bench, set_id) == "ready"
            if bench.hub.calls.count["module_twin"] > before:
                tries.append((bench.now() - set_at).total_seconds())
            bench.now.forward(seconds=1)

    assert tries == [0, 30, 90, 210, 450]
    bench.now.forward(minutes=10)
    assert release(bench, set_id) == "released"


def test_what_somebody_else_deployed_since_the_plan_is_not_overwritten(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    content = copy.deepcopy(dict(bench.hub.modules_content(DEVICE) or {}))
    content["$edgeAgent"]["properties.desired"]["modules"]["other"] = {"settings": {"image": "x:1"}}
    bench.hub.apply_content(DEVICE, content)

    assert release(bench, set_id) == "conflict"
    assert (member(bench, set_id).code, len(bench.hub.applied)) == ("release.conflict", 1)


def test_what_changes_while_the_release_is_made_is_not_overwritten(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    read = bench.hub.modules_content

    def read_while_somebody_writes(device_id: str) -> Mapping[str, Any] | None:
        content = read(device_id)
        bench.hub.change_by_somebody_else(device_id, {"radar": {"settings": {"image": "mcr.example/radar:9"}}})
        return content

    bench.with_deps(hubs={"north": bench.hub})
    bench.hub.modules_content = read_while_somebody_writes  # type: ignore[method-assign]
    assert release(bench, set_id) == "ready"
    assert (member(bench, set_id).code, bench.hub.applied) == ("hub.changed", [])

    bench.now.forward(minutes=1)
    assert release(bench, set_id) == "conflict"
    assert list(bench.hub.images(DEVICE)) == ["radar"]


def test_a_defect_of_ours_fails_the_member_instead_of_trying_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = bench.ready(APP, MANIFEST)
    monkeypatch.setattr(import_module("activities.release_members"), "new_content", lambda *given, **more: 1 // 0)

    assert release(bench, set_id) == "failed"
    assert member(bench, set_id).code == "internal"


def test_a_hub_that_is_not_configured_fails_the_member_with_its_code(bench: Bench) -> None:
    set_id = bench.ready(APP, MANIFEST)
    bench.with_deps(hubs={})

    assert release(bench, set_id) == "failed"
    assert member(bench, set_id).code == "request.unknown_hub"
