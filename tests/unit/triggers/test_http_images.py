"""Uploads, registrations and images."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.records import ImageRecord
from tests.unit.triggers.world import START, World

IMAGE = "sha256:" + "a" * 64


def test_an_upload_is_a_url_of_the_storage_for_one_archive(world: World) -> None:
    reply = world.call("POST", "/api/uploads")

    assert reply.status == 201
    assert reply.body["url"].startswith(f"http://host/blobs/intake/{reply.body['uploadId']}?sp=rcw&")
    assert reply.body["expiresAt"] == "2030-01-02T00:00:00Z"


def test_registering_starts_the_work_and_says_where_to_look(world: World) -> None:
    world.deps.blobs.put("intake", "upload-1", [b"archive"])

    reply = world.call("POST", "/api/images", {"upload": "upload-1", "reference": "app:1"})

    registration_id = reply.body["registrationId"]
    assert (reply.status, reply.body["state"]) == (202, "queued")
    assert reply.headers["Location"] == f"/api/images/registrations/{registration_id}"
    assert world.durable.started == [
        ("register_image", f"register-{registration_id}", {"registrationId": registration_id})
    ]
    looked = world.call("GET", reply.headers["Location"])
    assert (looked.status, looked.body["origin"]) == (200, {"upload": "upload-1"})


def test_an_order_stands_although_durable_did_not_answer(world: World) -> None:
    world.deps.blobs.put("intake", "upload-1", [b"archive"])
    world.durable.broken = True

    reply = world.call("POST", "/api/images", {"upload": "upload-1"})

    assert reply.status == 202
    assert world.deps.store.images.open_registrations(10) == (reply.body["registrationId"],)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"upload": "upload-none"}, 422, "request.unknown_upload"),
        ({"blob": "intake/none"}, 422, "request.unknown_upload"),
        ({"blob": "azure-webjobs-secrets/host.json"}, 422, "request.blob_container"),
        ({"blob": "patches/" + "ab" * 32}, 422, "request.blob_container"),
        ({"blob": "../state/keys.json"}, 422, "request.blob_container"),
        ({"blob": "no-slash"}, 422, "request.unknown_upload"),
        ({"blob": "intake/../../etc/passwd"}, 422, "request.blob_name"),
        ({"registry": "example.org/app:1"}, 422, "request.unknown_registry"),
        ({}, 400, "request.invalid"),
        ({"upload": "a", "blob": "b/c"}, 400, "request.invalid"),
        ({"upload": "../x"}, 400, "request.invalid"),
    ],
)
def test_an_archive_that_is_not_there_is_refused_before_anything_is_stored(
    world: World, body: dict[str, Any], status: int, code: str
) -> None:
    reply = world.call("POST", "/api/images", body)

    assert (reply.status, reply.code) == (status, code)
    assert world.deps.store.images.open_registrations(10) == ()
    assert world.durable.started == []


def test_images_are_listed_and_shown(world: World) -> None:
    world.deps.store.images.add_image(
        ImageRecord(IMAGE, "linux/amd64", b"{}", (), 5, "sha256:" + "b" * 64, ("app:1",), START)
    )

    listed = world.call("GET", "/api/images", platform="linux/amd64")
    shown = world.call("GET", f"/api/images/{IMAGE}")

    assert listed.body["items"] == [shown.body]
    assert shown.body["references"] == ["app:1"]
    assert world.call("GET", "/api/images", platform="linux/arm64").body["items"] == []
    assert world.call("GET", f"/api/images/{IMAGE}/devices").body == {"items": [], "next": None}


@pytest.mark.parametrize("path", ["/api/images/registrations/none", "/api/images/none", "/api/images/none/devices"])
def test_what_is_not_known_is_404(world: World, path: str) -> None:
    assert world.call("GET", path).code == "request.not_found"


NEAR = IMAGE[:60] + "b" * 11
"""Another ID that begins with the same digits."""


def add_image(world: World, image_id: str, reference: str) -> None:
    world.deps.store.images.add_image(
        ImageRecord(image_id, "linux/arm/v7", b"{}", (), 5, "sha256:" + "b" * 64, (reference,), START)
    )


@pytest.mark.parametrize("text", [IMAGE, IMAGE[7:], IMAGE[7:19], IMAGE[:30]])
def test_an_image_is_found_by_its_first_digits(world: World, text: str) -> None:
    add_image(world, IMAGE, "app:1")

    assert world.call("GET", f"/api/images/{text}").body["imageId"] == IMAGE
    assert world.call("GET", f"/api/images/{text}/devices").status == 200
    assert world.call("GET", "/api/transfers", image=text).body["items"] == []
    assert world.call("GET", "/api/patches", target=text).body["items"] == []


def test_digits_that_several_images_begin_with_are_refused_with_their_ids(world: World) -> None:
    add_image(world, IMAGE, "app:1")
    add_image(world, NEAR, "app:2")

    reply = world.call("GET", f"/api/images/{IMAGE[7:19]}")

    assert (reply.status, reply.code) == (409, "request.ambiguous_id")
    assert IMAGE in reply.body["detail"]
    assert NEAR in reply.body["detail"]
    assert world.call("GET", f"/api/images/{NEAR}").status == 200


@pytest.mark.parametrize("text", ["a" * 11, "sha256:%25", "_" * 12, "app:1"])
def test_what_is_no_id_finds_nothing(world: World, text: str) -> None:
    add_image(world, IMAGE, "app:1")

    assert world.call("GET", f"/api/images/{text}").status == 404


def test_images_are_listed_by_any_form_of_their_name_and_platform(world: World) -> None:
    add_image(world, IMAGE, "app:1")

    for asked in ({"reference": "docker.io/library/app:1"}, {"platform": "linux/arm"}):
        assert [item["imageId"] for item in world.call("GET", "/api/images", **asked).body["items"]] == [IMAGE]
    for wrong in ({"reference": "App:1"}, {"platform": "linux"}):
        assert world.call("GET", "/api/images", **wrong).code == "request.invalid"


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("reference", "App:1", 400), ("reference", "a b", 400), ("platform", "linux", 400)],
)
def test_a_name_or_platform_that_is_none_is_refused_with_the_reason(
    world: World, field: str, value: str, status: int
) -> None:
    reply = world.call("POST", "/api/images", {"upload": "upload-1", field: value})

    assert (reply.status, reply.code) == (status, "request.invalid")
    assert reply.body["detail"].startswith(f"{field}: ")


def test_a_platform_said_at_registration_is_kept_in_the_one_spelling(world: World) -> None:
    world.deps.blobs.put("intake", "upload-1", [b"archive"])

    reply = world.call("POST", "/api/images", {"upload": "upload-1", "platform": "linux/arm"})

    assert (reply.status, reply.body["platform"]) == (202, "linux/arm/v7")
