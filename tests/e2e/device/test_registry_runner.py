"""The shipped runner of the registry: garbage is collected beside a module at work, power losses are mended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge_module.engines.registry_shared import RegistryShared
from tests.e2e.device.registry_place import RegistryPlace
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import listed, make, pulled, sizes_of, write_layers
from tests.engines.suite import APP_1, APP_2, OTHER, noise
from tests.images import an_image

pytestmark = pytest.mark.e2e

LARGE = an_image({"large": noise(8 << 20, 7)}, references=("large:1",))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[RegistryPlace]:
    registry = RegistryProcess(tmp_path / "registry", runner=True, more={"IMAGEDELTA_COLLECT_DELAY_SECONDS": "0"})
    place = RegistryPlace(registry, tmp_path / "module")
    yield place
    place.close()
    registry.stop()


def size_of(folder: Path) -> int:
    """Of what is there while others remove files and folders."""
    found = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found += Path(path, name).stat().st_size
    return found


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def log(place: RegistryPlace) -> str:
    return place.registry.log.read_text(errors="replace")


def test_the_room_of_a_removed_image_is_free_again_and_no_other_image_misses_anything(place: RegistryPlace) -> None:
    engine = place.engine()
    make(engine, LARGE, "large:1")
    present = make(engine, APP_1, "app:1")

    engine.remove_image(LARGE.image_id)
    wait_until(lambda: size_of(place.registry.storage) < 1 << 20)

    wait_until(place.client().answers)
    assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}
    assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)


def test_a_collection_waits_for_a_module_at_work_and_takes_none_of_its_layers(place: RegistryPlace) -> None:
    engine = place.engine()
    make(engine, LARGE, "large:1")
    with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), ()) as work:
        write_layers(work, APP_2, (0, 1))
        engine.remove_image(LARGE.image_id)
        time.sleep(1)  # the runner looks ten times a second
        assert "collecting" not in log(place)
        write_layers(work, APP_2, (2,))
        work.finish(APP_2.image.config)

    wait_until(lambda: size_of(place.registry.storage) < 1 << 20)
    wait_until(place.client().answers)
    assert listed(place.engine()) == {APP_2.image_id: ()}
    assert place.pull("app:2", engine.name_image(APP_2.image_id, "app:2").digest_of("app:2")) == pulled(APP_2)


def test_images_are_made_named_and_removed_while_collections_run_all_the_time(place: RegistryPlace) -> None:
    engine, shared = place.engine(), RegistryShared(place.registry.shared)
    kept = {}
    for number in range(8):
        image = an_image({"base": noise(20_000, 1)}, {"n": noise(50_000, 100 + number)})
        make(engine, image, f"app{number % 2}:{number}")
        shared.ask_collection()
        if number % 2:
            engine.remove_image(image.image_id)
        else:
            kept[f"app0:{number}"] = image

    wait_until(lambda: log(place).count("collecting") >= 3)
    wait_until(place.client().answers)
    assert listed(place.engine()) == {image.image_id: (name,) for name, image in kept.items()}
    for name, image in kept.items():
        assert place.pull(name, None) == pulled(image)


def test_an_upload_that_was_given_up_long_ago_is_cleared_away_by_a_collection(place: RegistryPlace) -> None:
    client = place.client()
    client.append_upload(client.start_upload("app"), 0, b"x" * 100_000)
    for folder in place.registry.repository("app").glob("_uploads/*"):
        for path in (*folder.rglob("*"), folder):
            _age(path, 7200)

    RegistryShared(place.registry.shared).ask_collection()

    wait_until(lambda: not list(place.registry.repository("app").glob("_uploads/*")))


def test_a_collection_goes_on_beside_damaged_records(place: RegistryPlace) -> None:
    """distribution itself stops at the first one."""
    engine = place.engine()
    digest = str(make(engine, OTHER, "other:1").digest_of("other:1"))
    make(engine, APP_1, "app:1")
    make(engine, LARGE, "large:1")
    place.registry.blob_file(digest).write_bytes(b"")
    revision = place.registry.repository("app") / "_manifests/revisions/sha256"
    next(revision.glob("*/link")).write_bytes(b"")

    engine.remove_image(LARGE.image_id)

    wait_until(lambda: size_of(place.registry.storage) < 1 << 20)
    wait_until(place.client().answers)
    assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}
    assert "failed" not in log(place)


def test_empty_records_that_a_power_loss_left_are_mended_at_the_next_start(place: RegistryPlace) -> None:
    present = make(place.engine(), APP_1, "app:1")
    place.registry.kill()
    links = list(place.registry.repository("app").rglob("link"))
    assert len(links) == 8
    for link in links:
        link.write_bytes(b"")

    place.registry.start()

    assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}
    assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)


def test_only_blobs_that_are_damaged_are_removed_whoever_asks(place: RegistryPlace) -> None:
    present = make(place.engine(), APP_1, "app:1")
    shared = RegistryShared(place.registry.shared)

    assert shared.ask_removal(APP_1.image_id)
    assert shared.ask_removal("sha256:" + "0" * 64)
    (place.registry.storage / "imagedelta/damaged/..x").write_bytes(b"")

    assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)


def _age(path: Path, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(path, (past, past))
