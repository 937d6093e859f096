from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.records import ImageRecord, LayerRecord
from contracts.requests import RegisterImage
from imagedelta.errors import RequestError
from tests.unit.store.world import PLATFORM, START, World, digest


def record(name: str, *references: str, platform: str = PLATFORM, layers: tuple[str, ...] = ()) -> ImageRecord:
    return ImageRecord(digest(name), platform, b'{"os":"\xff"}', layers, 3 * 2**40, digest("s"), references, START)


def test_an_image_is_found_as_it_was_stored(world: World) -> None:
    layers = tuple(digest(f"layer {number}") for number in range(12))
    for diff_id in layers:
        world.store.images.add_layer(LayerRecord(diff_id, 2**40, digest("index")))
    image = record("app", "app:1", "app:latest", layers=layers)

    world.store.images.add_image(image)

    assert world.store.images.image(image.image_id) == image
    assert world.store.images.images([image.image_id, digest("?")]) == {image.image_id: image}


def test_adding_what_is_known_changes_nothing_but_references(world: World) -> None:
    image = record("app", "app:1")
    world.store.images.add_image(image)

    world.store.images.add_image(replace(image, full_bytes=1, references=("app:2",)))

    stored = world.store.images.image(image.image_id)
    assert stored is not None
    assert (stored.full_bytes, stored.references) == (3 * 2**40, ("app:1", "app:2"))


def test_a_layer_is_stored_once_and_known_by_its_diff_id(world: World) -> None:
    layer = LayerRecord(digest("layer"), 5, digest("index"))

    world.store.images.add_layer(layer)
    world.store.images.add_layer(layer)

    assert world.store.images.known_layers([layer.diff_id, digest("?")]) == {layer.diff_id: layer}


def test_more_layers_than_one_statement_takes_can_be_asked_for(world: World) -> None:
    layer = LayerRecord(digest("layer"), 5, digest("index"))
    world.store.images.add_layer(layer)

    known = world.store.images.known_layers([digest(str(number)) for number in range(5000)] + [layer.diff_id])

    assert known == {layer.diff_id: layer}


def test_a_reference_resolves_by_platform_and_can_move(world: World) -> None:
    arm = "linux/arm64"
    for image in (record("one", "app:1"), record("two", "app:1", platform=arm), record("three")):
        world.store.images.add_image(image)
    registration = world.store.images.request_registration(
        RegisterImage(reference="app:1", upload="u1"), "tester", world.now
    )

    world.store.images.finish_registration(registration.registration_id, {PLATFORM: digest("three")}, world.now)

    assert world.store.images.resolve(["app:1", "app:?"]) == {"app:1": {PLATFORM: digest("three"), arm: digest("two")}}


def test_a_reference_to_an_image_that_is_not_registered_is_refused(world: World) -> None:
    registration = world.store.images.request_registration(
        RegisterImage(reference="app:1", upload="u1"), "tester", world.now
    )

    with pytest.raises(RequestError) as error:
        world.store.images.finish_registration(registration.registration_id, {PLATFORM: digest("?")}, world.now)

    assert error.value.code == "request.unknown_image"
    stored = world.store.images.registration(registration.registration_id)
    assert stored is not None
    assert stored.state == "queued"


def test_a_registration_goes_from_queued_over_reading_to_its_end_once(world: World) -> None:
    images = world.store.images
    images.add_image(record("app"))
    queued = images.request_registration(RegisterImage(blob="intake/a.tar"), "tester", world.now)
    assert (queued.state, queued.origin, queued.reference) == ("queued", {"blob": "intake/a.tar"}, None)
    assert images.open_registrations(5) == (queued.registration_id,)

    assert images.start_registration(queued.registration_id).state == "reading"
    assert images.start_registration(queued.registration_id).state == "reading"
    images.finish_registration(queued.registration_id, {PLATFORM: digest("app")}, world.now)
    images.fail_registration(queued.registration_id, "content.invalid", "too late")

    done = images.registration(queued.registration_id)
    assert done is not None
    assert (done.state, done.images, done.code) == ("registered", {PLATFORM: digest("app")}, None)
    assert images.open_registrations(5) == ()


def test_a_registration_that_failed_says_why(world: World) -> None:
    queued = world.store.images.request_registration(RegisterImage(upload="u1"), "tester", world.now)

    world.store.images.fail_registration(queued.registration_id, "content.truncated", "cut short")

    failed = world.store.images.registration(queued.registration_id)
    assert failed is not None
    assert (failed.state, failed.code, failed.detail) == ("failed", "content.truncated", "cut short")


def test_an_unknown_registration_is_refused(world: World) -> None:
    with pytest.raises(RequestError) as error:
        world.store.images.start_registration("registration-0")

    assert (error.value.code, error.value.status) == ("request.not_found", 404)


def test_images_are_listed_by_reference_and_platform(world: World) -> None:
    world.store.images.add_image(record("one", "app:1"))
    world.store.images.add_image(record("two", "app:1", platform="linux/arm64"))

    def ids(reference: str | None = None, platform: str | None = None) -> set[str]:
        page = world.store.images.list_images(reference=reference, platform=platform, limit=9, after=None)
        return {image.image_id for image in page.items}

    assert ids() == {digest("one"), digest("two")}
    assert ids("app:1", "linux/arm64") == {digest("two")}
    assert ids("app:2") == set()


def test_devices_that_have_an_image_are_found(world: World) -> None:
    world.device("ship-1", digest("app:1"), site="north")
    world.device("ship-2", digest("app:2"))

    page = world.store.images.devices_with(digest("app:1"), limit=9, after=None)

    assert [(device.device_id, device.tags) for device in page.items] == [("ship-1", {"site": "north"})]


def test_the_versions_of_an_image_are_counted_as_devices_hold_them_together(world: World) -> None:
    one, two, three, other = (world.image(name) for name in ("app:1", "app:2", "app:3", "tool:1"))
    world.device("both", one, two)
    world.device("twin", one, two, other)
    world.device("old", one)
    world.device("has-it", one, three)
    world.device("elsewhere", other)
    world.device("gone", one)
    world.store.devices.retire("gone", "tester", world.now)

    assert world.store.images.fleet_versions(three) == {frozenset({one, two}): 2, frozenset({one}): 1}
    assert world.store.images.fleet_versions(other) == {}


def test_a_version_for_another_platform_is_no_version_of_an_image(world: World) -> None:
    one, two = world.image("app:1"), world.image("app:2")
    arm = ImageRecord(digest("arm"), "linux/arm64", b"{}", (), 5, digest("signature"), ("app:1",), world.now)
    world.store.images.add_image(arm)
    world.device("boat", one)
    world.device("arm", arm.image_id)

    assert world.store.images.fleet_versions(two) == {frozenset({one}): 1}
