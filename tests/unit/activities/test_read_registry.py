"""Registering out of a registry: what is taken, what is read again, what a cut or a crash leaves."""

from __future__ import annotations

import pytest

from contracts.requests import EnrolDevice
from imagedelta.errors import DependencyError, RequestError
from tests.images import an_image, docker_save
from tests.simulators.calls import Crash
from tests.unit.activities.bench import Bench, noise

BASE = {"usr/lib/a.so": noise(1, 300_000)}
APP_1 = an_image(BASE, {"app/a.dll": noise(3)}, references=("fleet.example/app:1",))
APP_2 = an_image(BASE, {"app/a.dll": noise(4)}, references=("fleet.example/app:2",))
ARM_2 = an_image(BASE, {"app/a.dll": noise(5)}, references=("fleet.example/app:2",), platform="linux/arm64")
RISC_2 = an_image(BASE, {"app/a.dll": noise(6)}, references=("fleet.example/app:2",), platform="linux/riscv64")


def test_an_image_of_a_registry_is_registered_as_one_of_an_archive_is(bench: Bench) -> None:
    bench.registry.push("fleet.example/app:1", APP_1)

    answer = bench.read(bench.request_pushed("fleet.example/app:1"))
    from_registry = bench.store.images.image(APP_1.image_id)
    bench.register(APP_1)

    assert answer == {"images": {"linux/amd64": APP_1.image_id}, "code": None}
    assert bench.store.images.image(APP_1.image_id) == from_registry
    assert bench.store.images.origins([APP_1.image_id]) == {APP_1.image_id: {"main", "archive"}}


def test_layers_that_are_known_are_not_fetched(bench: Bench) -> None:
    bench.register(APP_1)
    bench.registry.push("fleet.example/app:2", APP_2)

    bench.read(bench.request_pushed("fleet.example/app:2"))

    assert bench.registry.calls.count["open_layer"] == 1
    assert bench.registry.bytes_read == len(APP_2.layers[1])


def test_a_link_that_breaks_in_a_layer_costs_that_layer(bench: Bench) -> None:
    bench.registry.push("fleet.example/app:1", APP_1)
    registration_id = bench.request_pushed("fleet.example/app:1")
    bench.registry.calls.fail("open_layer", 2)
    with pytest.raises(DependencyError):
        bench.read(registration_id)
    bench.registry.break_after = 10_000
    with pytest.raises(DependencyError):
        bench.read(registration_id)
    assert len(bench.blobs.names("layers")) == 1

    assert bench.read(registration_id)["code"] is None
    assert bench.registry.calls.count["open_layer"] == 4


def test_a_host_that_dies_between_layers_goes_on_with_those_that_are_there(bench: Bench) -> None:
    bench.registry.push("fleet.example/app:1", APP_1)
    registration_id = bench.request_pushed("fleet.example/app:1")
    bench.blobs.calls.fail("put_if_absent indexes", 2, error=Crash())
    with pytest.raises(Crash):
        bench.read(registration_id)
    bench.registry.bytes_read = 0

    assert bench.read(registration_id)["images"] == {"linux/amd64": APP_1.image_id}
    assert bench.registry.bytes_read == len(APP_1.layers[1])


def enrol(bench: Bench, device_id: str, platform: str) -> None:
    bench.store.devices.enrol(device_id, EnrolDevice(hub="north", platform=platform), "operator", bench.now())


@pytest.mark.parametrize(
    ("machines", "environment", "stated", "taken"),
    [
        ([], {}, None, [APP_2, ARM_2, RISC_2]),
        (["linux/amd64"], {}, None, [APP_2]),
        (["linux/amd64", "linux/arm64", "linux/arm64"], {}, None, [APP_2, ARM_2]),
        (["linux/amd64"], {"IMAGEDELTA_IMAGE_PLATFORMS": "all"}, None, [APP_2, ARM_2, RISC_2]),
        (["linux/amd64"], {}, "linux/riscv64", [RISC_2]),
    ],
)
def test_of_an_image_for_several_platforms_those_of_the_fleet_are_taken(
    bench: Bench, machines: list[str], environment: dict[str, str], stated: str | None, taken: list
) -> None:
    bench.set_up(**environment)
    bench.registry.push("fleet.example/app:2", APP_2, ARM_2, RISC_2)
    for number, platform in enumerate(machines):
        enrol(bench, f"ship-{number}", platform)

    answer = bench.read(bench.request_pushed("fleet.example/app:2", **({"platform": stated} if stated else {})))

    assert answer["images"] == {built.image.platform: built.image_id for built in taken}


def test_retired_devices_run_nothing_any_more(bench: Bench) -> None:
    bench.registry.push("fleet.example/app:2", APP_2, ARM_2)
    enrol(bench, "ship-1", "linux/arm64")
    enrol(bench, "ship-2", "linux/amd64")
    bench.store.devices.retire("ship-1", "operator", bench.now())

    answer = bench.read(bench.request_pushed("fleet.example/app:2"))

    assert list(answer["images"]) == ["linux/amd64"]


def test_an_image_for_no_device_fails_with_what_there_is(bench: Bench) -> None:
    bench.registry.push("fleet.example/app:2", APP_2, ARM_2)
    enrol(bench, "ship-1", "linux/s390x")
    registration_id = bench.request_pushed("fleet.example/app:2")

    assert bench.read(registration_id)["code"] == "request.no_image"
    assert "there are: linux/amd64, linux/arm64" in (bench.registration(registration_id).detail or "")


def test_what_was_just_pushed_may_come_to_a_replica_later(bench: Bench) -> None:
    registration_id = bench.request_pushed("fleet.example/app:1", event="e-1")
    with pytest.raises(DependencyError):
        bench.read(registration_id)
    bench.registry.push("fleet.example/app:1", APP_1)

    assert bench.read(registration_id)["code"] is None


def test_a_layer_may_come_to_a_replica_later_than_its_manifest(bench: Bench) -> None:
    bench.registry.push("fleet.example/app:1", APP_1)
    registration_id = bench.request_pushed("fleet.example/app:1", event="e-1")
    bench.registry.calls.fail("open_layer", 2, error=RequestError("no such blob", code="request.no_image"))
    with pytest.raises(DependencyError):
        bench.read(registration_id)

    assert bench.read(registration_id)["code"] is None


def test_what_never_comes_to_the_replica_fails_as_what_a_person_misspells(bench: Bench) -> None:
    pushed, misspelt = (
        bench.request_pushed("fleet.example/app:9", event="e-1"),
        bench.request_pushed("fleet.example/x:1"),
    )
    bench.now.forward(minutes=11)

    assert bench.read(pushed)["code"] == bench.read(misspelt)["code"] == "request.no_image"


def test_a_registry_that_is_configured_no_more_fails_what_waited_for_it(bench: Bench) -> None:
    registration_id = bench.request_pushed("other.example/app:1")

    assert bench.read(registration_id)["code"] == "request.unknown_registry"


# ---------------------------------------------------------------- what came before


def test_the_previous_version_is_the_last_one_of_the_repository_and_platform(bench: Bench) -> None:
    other = an_image({"x": noise(8)}, references=("fleet.example/other:7",))
    for built in (APP_1, other, ARM_2, APP_2):
        bench.now.forward(seconds=60)
        bench.register(built)

    previous = bench.store.images.previous
    assert previous(APP_2.image_id) == APP_1.image_id
    assert [previous(built.image_id) for built in (APP_1, other, ARM_2)] == [None, None, None]


def test_a_tag_that_was_moved_has_its_image_of_before_as_previous_version(bench: Bench) -> None:
    old = an_image(BASE, {"app/a.dll": noise(3)}, references=("fleet.example/app:latest",))
    new = an_image(BASE, {"app/a.dll": noise(4)}, references=("fleet.example/app:latest",))
    bench.register(old)
    bench.now.forward(seconds=60)
    bench.register(new)

    assert bench.store.images.previous(new.image_id) == old.image_id


def test_an_image_that_moves_to_another_registry_keeps_its_line(bench: Bench) -> None:
    """From the developers' registry to the one that is production ready."""
    bench.read(bench.request(docker_save(APP_1), "dev.example/app:1", "one.tar"))
    bench.now.forward(seconds=60)
    bench.read(bench.request(docker_save(APP_2), "prod.example/app:2", "two.tar"))

    assert bench.store.images.previous(APP_2.image_id) == APP_1.image_id


def test_registering_again_does_not_make_an_image_its_own_successor(bench: Bench) -> None:
    for built in (APP_1, APP_2, APP_1):
        bench.now.forward(minutes=5)
        bench.register(built)

    assert bench.store.images.previous(APP_1.image_id) == APP_2.image_id


# ---------------------------------------------------------------- names


def test_what_was_asked_for_earlier_and_ends_later_does_not_take_the_name_back(bench: Bench) -> None:
    """Two pushes of a tag within seconds, whose registrations run side by side."""
    for reference, built in (("fleet.example/x:1", APP_1), ("fleet.example/x:2", APP_2)):
        bench.registry.push(reference, built)
    first = bench.request_pushed("fleet.example/x:1", reference="fleet.example/app:latest")
    bench.now.forward(seconds=1)
    second = bench.request_pushed("fleet.example/x:2", reference="fleet.example/app:latest")
    bench.now.forward(seconds=1)

    for registration_id in (second, first):
        assert bench.read(registration_id)["code"] is None

    assert bench.store.images.resolve(["fleet.example/app:latest"]) == {
        "fleet.example/app:latest": {"linux/amd64": APP_2.image_id}
    }


def test_a_person_may_give_a_name_back_to_an_older_image(bench: Bench) -> None:
    for built in (APP_1, APP_2, APP_1):
        bench.now.forward(seconds=1)
        bench.read(bench.request(docker_save(built), "app:latest"))

    assert bench.store.images.resolve(["app:latest"]) == {"app:latest": {"linux/amd64": APP_1.image_id}}
