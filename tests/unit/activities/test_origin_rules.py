"""Which devices may have an image because of where it came from: at the order, and again when it is planned."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.requests import DeviceSelection, EnrolDevice, Owner, StartDeployment
from imagedelta.errors import RequestError
from services.registries.origin_rules import forbidden
from tests.images import an_image, docker_save
from tests.unit.activities.bench import Bench
from triggers.orders import check_origins, dry_run, read_order

APP = an_image({"a": b"1" * 3000}, references=("fleet.example/app:1",))
DEV_ONLY = {"IMAGEDELTA_REGISTRY_MAIN_DEVICES": "tags.ring = 'dev'"}


@pytest.fixture
def fleet(bench: Bench) -> Bench:
    bench.registry.push("fleet.example/app:1", APP)
    for device_id, tags in (("lab", {"ring": "dev"}), ("ship", {"ring": "sea"}), ("bare", {})):
        bench.store.devices.enrol(device_id, EnrolDevice(hub="north", tags=tags), "operator", bench.now())
    return bench


def refused(bench: Bench) -> set[str]:
    return set(forbidden(bench.deps, [APP.image_id], ["bare", "lab", "ship"]).get(APP.image_id, ()))


def order(*devices: str) -> StartDeployment:
    return StartDeployment(
        name="March",
        owner=Owner(name="Olga", email="olga@example.com"),
        devices=DeviceSelection(ids=list(devices)),
        images=["fleet.example/app:1"],
    )


@pytest.mark.parametrize(
    ("environment", "archived", "closed"),
    [
        ({}, False, set()),
        (DEV_ONLY, False, {"ship", "bare"}),
        (DEV_ONLY, True, set()),
        (DEV_ONLY | {"IMAGEDELTA_ARCHIVE_DEVICES": "tags.ring = 'sea'"}, True, {"bare"}),
        ({"IMAGEDELTA_ARCHIVE_DEVICES": "tags.ring = 'sea'"}, False, set()),
    ],
)
def test_an_image_goes_wherever_one_of_its_origins_may_feed(
    fleet: Bench, environment: dict[str, str], archived: bool, closed: set[str]
) -> None:
    fleet.set_up(**environment)
    fleet.read(fleet.request_pushed("fleet.example/app:1"))
    if archived:
        fleet.read(fleet.request(docker_save(APP)))

    assert refused(fleet) == closed


def test_taking_a_registry_out_of_the_settings_opens_nothing(fleet: Bench) -> None:
    fleet.read(fleet.request_pushed("fleet.example/app:1"))
    other = {"IMAGEDELTA_REGISTRIES": "other", "IMAGEDELTA_REGISTRY_OTHER_HOST": "other.example"}
    fleet.set_up(**other, IMAGEDELTA_REGISTRY_OTHER_DEVICES="tags.ring = 'dev'")

    assert refused(fleet) == {"lab", "ship", "bare"}


def test_an_order_for_a_device_outside_of_the_rule_is_refused_and_so_is_its_plan(fleet: Bench) -> None:
    fleet.set_up(**DEV_ONLY)
    fleet.read(fleet.request_pushed("fleet.example/app:1"))

    for devices in (("ship",), ("lab", "ship")):
        request = order(*devices)
        chosen = fleet.store.sets.select_devices(request)
        for ask in (
            lambda r=request, c=chosen: check_origins(read_order(r, fleet.deps), c, fleet.deps),
            lambda r=request: dry_run(read_order(r, fleet.deps), None, fleet.deps),
        ):
            with pytest.raises(RequestError, match="may feed ship") as error:
                ask()
            assert error.value.code == "plan.registry"
    request = order("lab")
    check_origins(read_order(request, fleet.deps), fleet.store.sets.select_devices(request), fleet.deps)


def test_a_device_whose_tags_change_after_the_order_fails_alone(fleet: Bench) -> None:
    fleet.set_up(**DEV_ONLY)
    fleet.read(fleet.request_pushed("fleet.example/app:1"))
    for device_id in ("lab", "ship"):
        fleet.enrol(device_id=device_id)
        set_tags(fleet, device_id, ring="dev")
    request = order("lab", "ship")
    images = fleet.store.images.resolve(request.images or [])
    of = fleet.store.sets.create(request, images=images, manifest=None, by="olga", at=fleet.now.forward(seconds=1))
    set_tags(fleet, "ship", ring="sea")

    fleet.plan(of.set_id, "lab", "ship")

    members = {member.device_id: (member.state, member.code) for member in fleet.store.sets.members(of.set_id)}
    assert members == {"lab": ("planned", None), "ship": ("failed", "plan.registry")}


def set_tags(bench: Bench, device_id: str, **tags: Any) -> None:
    bench.store.devices.enrol(device_id, EnrolDevice(hub="north", tags=tags), "operator", bench.now())
