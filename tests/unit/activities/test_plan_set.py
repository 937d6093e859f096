from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from activities.plan_set import plan_set
from contracts.records import DeploymentSet
from contracts.requests import DeviceSelection, Owner, StartDeployment
from imagedelta.errors import DependencyError
from tests.images import BuiltImage, an_image
from tests.unit.activities.bench import DEVICE, Bench, noise

FILES = {f"app/{name}.dll": noise(n) for n, name in enumerate("ab")}
APP_1 = an_image(FILES, references=("fleet.example/app:1",))
APP_2 = an_image({**FILES, "app/a.dll": noise(50)}, references=("fleet.example/app:2",))


def accepted(bench: Bench) -> str:
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    request = StartDeployment(
        name="March",
        owner=Owner(name="Olga", email="olga@example.com"),
        devices=DeviceSelection(ids=[DEVICE]),
        images=["fleet.example/app:2"],
    )
    images = {"fleet.example/app:2": {"linux/amd64": APP_2.image_id}}
    return bench.store.sets.create(request, images=images, manifest=None, by="olga", at=bench.now()).set_id


def plan(bench: Bench, set_id: str) -> str:
    return str(plan_set(bench.deps, {"setId": set_id})["state"])


def stored(bench: Bench, set_id: str) -> DeploymentSet:
    found = bench.store.sets.deployment_set(set_id)
    assert found is not None
    return found


def test_a_plan_is_made_once_however_often_it_is_asked_for(bench: Bench) -> None:
    set_id = accepted(bench)
    states = {plan(bench, set_id) for _ in range(3)}

    (transfer,) = bench.store.transfers.of_set(set_id)
    (member,) = bench.store.sets.members(set_id)
    assert states == {"preparing"}
    assert (transfer.state, transfer.attempt, transfer.sources) == ("queued", 1, (APP_1.image_id,))
    assert member.state == "in_transit"


def test_a_storage_that_is_away_leaves_the_set_in_planning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: object) -> bytes:
        raise DependencyError("the storage is away")

    set_id = accepted(bench)
    monkeypatch.setattr(bench.blobs, "read", away)

    with pytest.raises(DependencyError):
        plan(bench, set_id)

    assert stored(bench, set_id).state == "planning"
    monkeypatch.undo()
    assert plan(bench, set_id) == "preparing"


def test_priorities_that_cannot_be_read_fail_the_set_with_their_code(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "priorities.yaml"
    path.write_text("rules: [{class: soon}]")
    set_id = accepted(bench)
    bench.with_deps(settings=replace(bench.deps.settings, priorities_file=path))

    assert plan(bench, set_id) == "failed"
    assert stored(bench, set_id).code == "settings.priorities"


def test_a_defect_of_ours_fails_the_set_instead_of_planning_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_id = accepted(bench)
    monkeypatch.setattr(import_module("activities.plan_set"), "plan_fleet", lambda *given: 1 // 0)

    assert plan(bench, set_id) == "failed"
    assert stored(bench, set_id).code == "internal"


@pytest.mark.parametrize(("damaged", "state", "code"), [(APP_1, "preparing", None), (APP_2, "failed", "content.")])
def test_a_damaged_signature_costs_a_source_and_only_that_of_a_wanted_image_the_set(
    bench: Bench, damaged: BuiltImage, state: str, code: str | None
) -> None:
    set_id = accepted(bench)
    record = bench.store.images.image(damaged.image_id)
    assert record is not None
    (bench.blobs.root / "signatures" / record.signature[7:]).write_bytes(b"damaged")

    assert plan(bench, set_id) == state

    sources = [transfer.sources for transfer in bench.store.transfers.of_set(set_id)]
    assert str(stored(bench, set_id).code).startswith(str(code))
    assert sources == ([()] if state == "preparing" else [])
