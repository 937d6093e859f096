from __future__ import annotations

from importlib import import_module

import pytest

from contracts.requests import RegisterImage
from imagedelta.errors import DependencyError
from tests.images import BuiltImage, an_archive, an_image, docker_save, gzipped, oci_archive, oci_files
from tests.simulators.calls import Crash
from tests.unit.activities.bench import Bench, noise

BASE = {"usr/lib/a.so": noise(1, 300_000), "usr/lib/b.so": noise(2, 300_000)}
APP_1 = an_image(BASE, {"app/a.dll": noise(3)}, references=("fleet.example/app:1",))
APP_2 = an_image(BASE, {"app/a.dll": noise(4)}, references=("fleet.example/app:2",))


def layer_names(*images: BuiltImage) -> list[str]:
    diff_ids = {diff_id for built in images for diff_id in built.image.diff_ids}
    return sorted(diff_id.removeprefix("sha256:") for diff_id in diff_ids)


def test_an_image_is_kept_with_its_layers_indexes_and_signature(bench: Bench) -> None:
    registration_id = bench.request(docker_save(APP_1))

    assert bench.read(registration_id) == {"images": {"linux/amd64": APP_1.image_id}, "code": None}

    record = bench.store.images.image(APP_1.image_id)
    assert record is not None
    assert (record.diff_ids, record.references) == (APP_1.image.diff_ids, ("fleet.example/app:1",))
    assert record.full_bytes == len(APP_1.image.config) + sum(map(len, APP_1.layers))
    assert bench.blobs.names("layers") == layer_names(APP_1)
    stored = [bench.blobs.read("layers", diff_id.removeprefix("sha256:")) for diff_id in APP_1.image.diff_ids]
    assert tuple(stored) == APP_1.layers
    assert (len(bench.blobs.names("indexes")), len(bench.blobs.names("signatures"))) == (2, 1)
    assert bench.registration(registration_id).state == "registered"


def test_an_archive_is_read_about_once(bench: Bench) -> None:
    archive = docker_save(APP_1)

    bench.read(bench.request(archive))

    assert bench.blobs.bytes_read["intake"] < len(archive) * 1.2


def test_layers_that_are_known_are_not_read_again(bench: Bench) -> None:
    bench.register(APP_1)
    bench.blobs.bytes_read.clear()

    bench.register(APP_2)

    assert bench.blobs.bytes_read["intake"] < len(APP_2.layers[1]) + 100_000
    assert bench.blobs.names("layers") == layer_names(APP_1, APP_2)


def test_the_same_image_in_another_form_is_the_same_image(bench: Bench) -> None:
    bench.register(APP_1)

    again = bench.read(bench.request(oci_archive(APP_1, pack=gzipped)))

    assert again["images"] == {"linux/amd64": APP_1.image_id}
    assert bench.blobs.names("layers") == layer_names(APP_1)


def test_an_archive_of_two_platforms_registers_one_image_for_each(bench: Bench) -> None:
    arm = an_image(BASE, {"app/a.dll": noise(5)}, references=("fleet.example/app:1",), platform="linux/arm64")

    answer = bench.read(bench.request(oci_archive(APP_1, arm), "fleet.example/both:1"))

    expected = {"linux/amd64": APP_1.image_id, "linux/arm64": arm.image_id}
    assert answer["images"] == expected
    assert bench.store.images.resolve(["fleet.example/both:1"]) == {"fleet.example/both:1": expected}


def test_two_images_of_one_platform_are_refused(bench: Bench) -> None:
    registration_id = bench.request(docker_save(APP_1, APP_2))

    assert bench.read(registration_id) == {"images": {}, "code": "request.many_images"}
    assert bench.registration(registration_id).state == "failed"


def test_two_images_are_refused_with_all_their_names(bench: Bench) -> None:
    several = an_image(BASE, references=("app:1", "docker.io/team/app:latest"))
    registration_id = bench.request(docker_save(several, APP_2))

    bench.read(registration_id)

    detail = bench.registration(registration_id).detail or ""
    assert "app:1 = team/app:latest for linux/amd64; fleet.example/app:2 for linux/amd64" in detail


WRONG = an_image(BASE, {"app/a.so": noise(6)}, references=("module:1",))
"""Built for arm, and its config says amd64, as IoT Edge's cross builds do."""


def test_a_platform_that_a_person_says_outweighs_the_config(bench: Bench) -> None:
    answer = bench.read(bench.request(docker_save(WRONG), platform="arm32v7"))

    assert answer["images"] == {"linux/arm/v7": WRONG.image_id}
    assert bench.store.images.resolve(["module:1"]) == {"module:1": {"linux/arm/v7": WRONG.image_id}}


def test_a_platform_can_be_corrected_and_the_wrong_one_is_forgotten(bench: Bench) -> None:
    bench.register(WRONG)

    bench.read(bench.request(docker_save(WRONG), platform="linux/arm/v7"))

    image = bench.store.images.image(WRONG.image_id)
    assert image is not None
    assert (image.platform, image.references) == ("linux/arm/v7", ("module:1",))
    assert bench.store.images.resolve(["module:1"]) == {"module:1": {"linux/arm/v7": WRONG.image_id}}


def test_what_a_person_said_stands_when_the_image_is_registered_again_without_it(bench: Bench) -> None:
    bench.read(bench.request(docker_save(WRONG), platform="linux/arm/v7"))

    answer = bench.read(bench.request(docker_save(WRONG), "module:2"))

    assert answer["images"] == {"linux/arm/v7": WRONG.image_id}


def test_one_platform_does_not_fit_several_images(bench: Bench) -> None:
    arm = an_image(BASE, platform="linux/arm64", references=("app:1",))

    answer = bench.read(bench.request(docker_save(APP_1, arm), platform="linux/arm64"))

    assert answer["code"] == "request.many_images"


def test_an_image_that_does_not_say_what_it_is_for_asks_for_the_platform(bench: Bench) -> None:
    silent = an_image(BASE, references=("app:1",), platform="")

    assert bench.read(bench.request(docker_save(silent)))["code"] == "request.no_platform"
    assert bench.read(bench.request(docker_save(silent), platform="arm64"))["images"] == {
        "linux/arm64": silent.image_id
    }


def test_an_archives_own_name_that_is_none_asks_for_a_reference(bench: Bench) -> None:
    tagged = an_image(BASE, references=("latest",))
    registration_id = bench.request(oci_archive(tagged))

    assert bench.read(registration_id)["code"] == "request.no_reference"
    assert "'latest'" in (bench.registration(registration_id).detail or "")
    assert bench.read(bench.request(oci_archive(tagged), "app:1"))["code"] is None


def test_the_long_and_the_short_form_of_a_name_are_one_reference(bench: Bench) -> None:
    bench.read(bench.request(docker_save(APP_1), "docker.io/library/app:1"))

    assert set(bench.store.images.resolve(["app:1"])) == {"app:1"}


def test_what_was_passed_over_is_told_with_the_images_that_were_registered(bench: Bench) -> None:
    files = oci_files(APP_1, APP_2)
    files[f"blobs/sha256/{APP_2.image_id[7:]}"] += b" "
    registration_id = bench.request(an_archive(files))

    assert bench.read(registration_id)["images"] == {"linux/amd64": APP_1.image_id}
    registration = bench.registration(registration_id)
    assert registration.state == "registered"
    assert (registration.detail or "").startswith("passed over: fleet.example/app:2: blob sha256:")


@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (b"no archive at all" * 100, "content.not_an_image"),
        (docker_save(APP_1)[:400_000], "content.truncated"),
        (docker_save(APP_1).replace(noise(2, 300_000)[1000:1100], bytes(100)), "content.digest_mismatch"),
    ],
)
def test_a_damaged_archive_fails_with_its_code_and_leaves_nothing_behind(
    bench: Bench, archive: bytes, code: str
) -> None:
    registration_id = bench.request(archive)

    assert bench.read(registration_id) == {"images": {}, "code": code}

    record = bench.registration(registration_id)
    assert (record.state, record.code, record.images) == ("failed", code, {})
    assert (bench.blobs.names("layers"), bench.store.images.known_layers(APP_1.image.diff_ids)) == ([], {})
    assert bench.store.images.image(APP_1.image_id) is None
    assert bench.read(registration_id)["code"] == code


def test_an_archive_that_is_not_there_fails_the_registration(bench: Bench) -> None:
    request = RegisterImage(blob="intake/nothing.tar")
    registration_id = bench.store.images.request_registration(request, "pipeline", bench.now()).registration_id

    assert bench.read(registration_id) == {"images": {}, "code": "content.missing"}


def test_a_storage_that_is_away_leaves_the_registration_open(bench: Bench) -> None:
    registration_id = bench.request(docker_save(APP_1))
    bench.blobs.calls.fail("put_if_absent layers", 2)

    with pytest.raises(DependencyError):
        bench.read(registration_id)

    assert bench.registration(registration_id).state == "reading"
    assert bench.read(registration_id)["images"] == {"linux/amd64": APP_1.image_id}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", ["put_if_absent layers", "put_if_absent indexes", "put_if_absent signatures"])
def test_a_crash_between_blobs_and_sql_is_completed_by_a_second_run(bench: Bench, write: str, after: bool) -> None:
    registration_id = bench.request(docker_save(APP_1))
    bench.blobs.calls.fail(write, after=after, error=Crash())
    with pytest.raises(Crash):
        bench.read(registration_id)
    assert bench.store.images.image(APP_1.image_id) is None

    bench.read(registration_id)

    assert bench.registration(registration_id).images == {"linux/amd64": APP_1.image_id}
    assert bench.blobs.names("layers") == layer_names(APP_1)


def test_layers_that_a_crashed_run_finished_are_not_read_again(bench: Bench) -> None:
    registration_id = bench.request(docker_save(APP_1))
    bench.blobs.calls.fail("put_if_absent signatures", error=Crash())
    with pytest.raises(Crash):
        bench.read(registration_id)
    bench.blobs.bytes_read.clear()

    bench.read(registration_id)

    assert bench.blobs.bytes_read["intake"] < 100_000


def test_a_defect_of_ours_fails_the_registration(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("activities.read_image"), "sign", lambda *given: 1 // 0)
    registration_id = bench.request(docker_save(APP_1))

    assert bench.read(registration_id)["code"] == "internal"
    assert bench.registration(registration_id).state == "failed"
