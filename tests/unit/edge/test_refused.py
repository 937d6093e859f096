"""Files that were refused: kept for people, bounded, and never in the way of what is wanted."""

from __future__ import annotations

import math

import pytest

from edge_module.refused import FOLDER, MAX_FILES, RefusedFiles
from imagedelta.errors import DependencyError, SealError
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import APP_1, APP_2, STRANGER, World, make_bundle

ERROR = SealError("sealed by key \x1b[31mred")


@pytest.fixture
def disk() -> FileSystemSimulator:
    disk = FileSystemSimulator()
    disk.make_folders("inbox")
    return disk


def put(disk: FileSystemSimulator, name: str, data: bytes = b"x") -> str:
    disk.put(f"inbox/{name}", data)
    return f"inbox/{name}"


def test_the_reason_is_plain_text_with_code_and_remedy(disk: FileSystemSimulator) -> None:
    RefusedFiles(disk).keep(put(disk, "a.bundle"), ERROR)

    text = disk.files()[f"{FOLDER}/000001-a.bundle.reason.txt"].decode()
    assert text.splitlines() == [r"sealed by key \x1b[31mred", "code: seal.invalid", f"what to do: {ERROR.remedy}"]


def test_the_newest_few_are_kept_also_of_one_name(disk: FileSystemSimulator) -> None:
    for number in range(MAX_FILES + 3):
        RefusedFiles(disk).keep(put(disk, "a.bundle", bytes([number])), ERROR)

    kept = [data for name, data in sorted(disk.files().items()) if name.endswith(".bundle")]
    assert kept == [bytes([number]) for number in range(3, MAX_FILES + 3)]
    assert len(disk.list(FOLDER)) == 2 * MAX_FILES


def test_a_name_as_long_as_a_file_system_takes_is_kept_too(disk: FileSystemSimulator) -> None:
    name = "船" * 82 + ".bundle"

    RefusedFiles(disk).keep(put(disk, name), ERROR)

    assert all(len(each.encode()) <= 255 for each in disk.list(FOLDER))
    assert all(each.startswith("000001-") for each in disk.list(FOLDER))


def test_they_give_way_oldest_first_when_room_is_needed(disk: FileSystemSimulator) -> None:
    refused = RefusedFiles(disk)
    for number in range(3):
        refused.keep(put(disk, f"{number}.bundle", bytes(1000)), ERROR)
    free = disk.free_bytes()

    assert refused.make_room(free + 1500, disk.free_bytes) >= free + 1500

    assert [name for name in disk.list(FOLDER) if name.endswith(".bundle")] == ["000003-2.bundle"]
    assert refused.make_room(1 << 50, disk.free_bytes) < 1 << 50
    assert disk.list(FOLDER) == []


def test_a_file_that_cannot_be_moved_is_not_judged_for_ever(disk: FileSystemSimulator, monkeypatch) -> None:
    refused = RefusedFiles(disk)

    def unable(old: str, new: str) -> None:
        raise DependencyError(f"{new}: Invalid cross-device link", code="disk.failing")

    path = put(disk, "a.bundle")
    monkeypatch.setattr(disk, "rename", unable)

    refused.keep(path, ERROR)

    assert disk.list("inbox") == []


def test_reasons_without_a_file_are_cleared_at_start(disk: FileSystemSimulator) -> None:
    RefusedFiles(disk)
    disk.put(f"{FOLDER}/000001-a.bundle.reason.txt", b"the power went before the file was moved")

    RefusedFiles(disk)

    assert disk.list(FOLDER) == []


def test_a_folder_that_cannot_be_read_at_start_hinders_nothing() -> None:
    world = World(APP_1)
    world.disk.fail_reading_at(1, count=math.inf, only="refused")
    world.publish(make_bundle())

    world.run()

    assert world.final_report() == ("succeeded", None)


def test_a_transfer_that_was_refused_leaves_its_file_too() -> None:
    world = World(APP_1)
    bundle = make_bundle(STRANGER)
    world.drop_into_inbox(bundle, "app.bundle")

    world.run()

    assert world.final_report() == ("failed", "seal.unknown_key")
    assert world.disk.files()["refused/000001-app.bundle"] == bundle.data


def test_a_full_disk_takes_the_room_of_refused_files_before_a_job_waits() -> None:
    world = World(APP_1)
    refused = make_bundle(STRANGER, patch=bytes(400_000), transfer_id="transfer-2", bundle_id="bundle-2")
    world.drop_into_inbox(refused, "refused.bundle")
    world.run()
    assert world.disk.size("refused/000001-refused.bundle") == len(refused.data)
    world.disk.capacity = sum(map(len, world.disk.files().values())) + 120_000

    world.publish(make_bundle())
    world.run()

    assert world.final_report() == ("succeeded", None)
    assert APP_2.image_id in world.image_ids()
    assert world.disk.list(FOLDER) == []
