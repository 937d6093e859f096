"""The disk refuses one operation, or the power goes at it: nothing whole is lost, nothing half is listed."""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable
from functools import cache

import pytest

from edge_module.engines.layout import LayoutEngine
from imagedelta.errors import DependencyError
from tests.engines.place import listed, make
from tests.images import an_image, gzipped, oci_files
from tests.simulators.files import MODES, FileSystemSimulator, Mode, PowerCut

APP_1 = an_image({"base": b"1" * 900}, {"app": b"2" * 700}, references=("app:1",))
APP_2 = an_image({"base": b"1" * 900}, {"app": b"3" * 700}, {"etc/settings": b"4"})
OTHER = an_image({"other": b"5"})
OLD = {APP_1.image_id: ("app:1",), OTHER.image_id: ()}
INDEX = "images/index.json"


@cache
def _a_disk() -> FileSystemSimulator:
    disk = FileSystemSimulator()
    engine = LayoutEngine(disk)
    make(engine, APP_1, "app:1")
    make(engine, OTHER)
    engine.installation_id()
    engine.clean()
    return disk


def a_disk() -> FileSystemSimulator:
    return copy.deepcopy(_a_disk())


def remake(disk: FileSystemSimulator) -> None:
    make(LayoutEngine(disk), APP_2, "app:2", [APP_1])


def rename(disk: FileSystemSimulator) -> None:
    LayoutEngine(disk).name_image(OTHER.image_id, "app:1")


def remove(disk: FileSystemSimulator) -> None:
    engine = LayoutEngine(disk)
    if OTHER.image_id in listed(engine):
        engine.remove_image(OTHER.image_id)
    engine.collect()


def clean(disk: FileSystemSimulator) -> None:
    engine = LayoutEngine(disk)
    engine.clean()
    engine.collect()
    engine.drop_damaged(APP_1.image.diff_ids)
    assert engine.installation_id() == _a_disk_id()


def _a_disk_id() -> str:
    return LayoutEngine(a_disk()).installation_id()


DONE = {
    remake: {**OLD, APP_2.image_id: ("app:2",)},
    rename: {APP_1.image_id: (), OTHER.image_id: ("app:1",)},
    remove: {APP_1.image_id: ("app:1",)},
    clean: OLD,
}
STEPS = [pytest.param(step, id=step.__name__) for step in DONE]
BEFORE = {
    "whole": lambda disk: None,
    "index cut": lambda disk: disk.put(INDEX, disk.files()[INDEX][:90]),
    "index and manifest gone": lambda disk: [disk.remove(each) for each in (INDEX, _manifest(disk))],
}


def _manifest(disk: FileSystemSimulator) -> str:
    (image,) = (each for each in LayoutEngine(disk).images() if each.references)
    return f"images/blobs/sha256/{str(image.digest_of(''))[7:]}"


def prepared(before: str) -> FileSystemSimulator:
    disk = a_disk()
    BEFORE[before](disk)
    disk.reboot("kept")
    return disk


def operations(before: str, step: Callable[[FileSystemSimulator], None]) -> tuple[int, int]:
    disk = prepared(before)
    writes, reads = disk.operations, disk.reads
    step(disk)
    return disk.operations - writes, disk.reads - reads


def assert_old_or_done(disk: FileSystemSimulator, step: Callable[[FileSystemSimulator], None]) -> None:
    engine = LayoutEngine(disk)
    now = listed(engine)
    assert now in (OLD, DONE[step], {**OLD, APP_2.image_id: ()}), now
    for image in engine.images():
        assert engine.drop_damaged(image.diff_ids) == ()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("step", STEPS)
def test_an_operation_that_fails_once_is_a_wait_and_the_next_try_heals(
    step: Callable[[FileSystemSimulator], None], before: str, error: int
) -> None:
    writes, _ = operations(before, step)
    failed = 0
    for at in range(1, writes + 1):
        disk = prepared(before)
        disk.fail_at(at, error)
        try:
            step(disk)
        except DependencyError as raised:
            failed += 1
            assert raised.code in ("disk.full", "disk.failing", "engine.damaged")
        disk.heal()
        assert_old_or_done(disk, step)

        step(disk)
        disk.reboot("dropped")

        LayoutEngine(disk).clean()
        assert listed(LayoutEngine(disk)) == DONE[step], f"operation {at}: {disk.log[-5:]}"
        assert disk.list("images/ingest") == disk.list("scratch") == []
    assert failed or writes <= 2


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("step", STEPS)
def test_a_read_that_fails_once_loses_nothing(step: Callable[[FileSystemSimulator], None], before: str) -> None:
    _, reads = operations(before, step)
    for at in range(1, reads + 1):
        disk = prepared(before)
        disk.fail_reading_at(at)
        try:
            step(disk)
        except DependencyError as raised:
            assert raised.code in ("disk.failing", "engine.damaged")
        disk.heal()
        assert_old_or_done(disk, step)

        step(disk)

        assert listed(LayoutEngine(disk)) == DONE[step], f"read {at}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("step", STEPS)
def test_power_lost_at_any_operation_leaves_the_old_or_the_new(
    step: Callable[[FileSystemSimulator], None], before: str, mode: Mode
) -> None:
    writes, _ = operations(before, step)
    for at in range(1, writes + 1):
        disk = prepared(before)
        disk.cut_power_at(at)
        with pytest.raises(PowerCut):
            step(disk)
        disk.reboot(mode, seed=at)
        LayoutEngine(disk).clean()
        assert_old_or_done(disk, step)

        step(disk)

        assert listed(LayoutEngine(disk)) == DONE[step], f"operation {at}"
        assert disk.list("images/ingest") == disk.list("scratch") == []


def test_a_packed_source_that_cannot_be_read_is_a_wait_and_no_lost_source() -> None:
    disk = FileSystemSimulator()
    for name, data in oci_files(APP_1, pack=gzipped).items():
        disk.make_folders("images/blobs/sha256")
        disk.put(f"images/{name}", data)
    reads = disk.reads
    with LayoutEngine(disk).begin(APP_2.image_id, "", {}, [APP_1.image_id]) as work:
        before = disk.reads - reads
        work.find(APP_1.image.diff_ids[1])
        after = disk.reads - reads
    assert after > before

    for at in range(1, after + 1):
        engine = LayoutEngine(disk)
        disk.fail_reading_at(at)
        try:
            with engine.begin(APP_2.image_id, "", {}, [APP_1.image_id]) as work:
                work.find(APP_1.image.diff_ids[1])
        except DependencyError as raised:
            assert raised.code == "disk.failing"
        disk.heal()
        assert disk.list("scratch") == []
