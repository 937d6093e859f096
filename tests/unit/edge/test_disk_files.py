"""The file port on a real folder, and the commands that use it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_module.files import DiskFiles, RootLock, move_durably, write_atomically
from edge_module.main import main
from imagedelta.errors import DependencyError, RequestError, UnsafePath
from tests.images import docker_save, oci_archive
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import APP_1, APP_2


@pytest.fixture(params=["disk", "simulator"])
def files(request: pytest.FixtureRequest, tmp_path: Path):
    return DiskFiles(tmp_path) if request.param == "disk" else FileSystemSimulator()


def test_disk_and_simulator_behave_alike(files) -> None:
    files.make_folders("a/b")
    writer = files.create("a/b/one")
    writer.write(b"12345")
    writer.sync()
    writer.close()
    writer = files.append("a/b/one", 3)
    writer.write(b"x")
    writer.close()
    write_atomically(files, "a/two", b"2")
    files.make_folders("c")
    move_durably(files, "a/two", "c/two")
    files.remove("a/none")

    with files.open("a/b/one") as stream:
        assert stream.read() == b"123x"
    assert (files.size("a/b/one"), files.size("a/b"), files.size("no")) == (4, None, None)
    assert (files.list("a"), files.list("c"), files.list("no")) == (["b"], ["two"], [])
    assert files.free_bytes() > 0
    with pytest.raises(FileNotFoundError):
        files.open("a/two")


def test_names_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path / "root")

    for name in ("../x", "/etc/passwd", "a/../../x", "a\0b"):
        with pytest.raises(UnsafePath):
            files.create(name)


def test_a_failing_disk_is_a_dependency_that_may_come_back(tmp_path: Path) -> None:
    files = DiskFiles(tmp_path)

    with pytest.raises(DependencyError) as caught:
        files.create("no/such/folder")
    assert caught.value.code == "disk.failing"


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bundle")

    assert DiskFiles(tmp_path).size("a.bundle") is None


def test_a_full_disk_has_its_own_code(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    writer = DiskFiles(tmp_path).create("full")

    with pytest.raises(DependencyError) as caught:
        writer.write(b"1")
    writer.close()

    assert caught.value.code == "disk.full"


def test_one_process_works_in_a_folder_at_a_time(tmp_path: Path) -> None:
    with RootLock(tmp_path), pytest.raises(RequestError) as caught, RootLock(tmp_path):
        pass
    assert caught.value.code == "device.busy"
    with RootLock(tmp_path):
        pass


@pytest.fixture
def aboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("IMAGEDELTA_ROOT", str(tmp_path / "root"))

    def run(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        answer = capsys.readouterr()
        return code, answer.out + answer.err

    return run


def test_a_device_gets_its_first_images_from_archives(aboard, tmp_path: Path) -> None:
    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    one.write_bytes(docker_save(APP_1))
    two.write_bytes(oci_archive(APP_2))

    assert aboard("load", str(one)) == (0, f"{APP_1.image_id} app:1\n")
    assert aboard("load", str(two), "--as", "mine:7") == (0, f"{APP_2.image_id} mine:7\n")

    listed = sorted([f"{APP_1.image_id} app:1", f"{APP_2.image_id} mine:7"])
    assert aboard("images") == (0, "\n".join(listed) + "\n")


def test_a_broken_archive_is_refused_and_leaves_nothing(aboard, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(docker_save(APP_1)[:50_000])

    code, said = aboard("load", str(broken))

    assert code == 1
    assert "content." in said
    assert aboard("images") == (0, "")
    assert list((tmp_path / "root/images/ingest").iterdir()) == []


def test_an_image_is_removed_with_the_blobs_only_it_needs(aboard, tmp_path: Path) -> None:
    for number, image in enumerate((APP_1, APP_2)):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(docker_save(image))
        aboard("load", str(path))

    assert aboard("remove", "app:2")[0] == 0

    kept = {path.name for path in (tmp_path / "root/images/blobs/sha256").iterdir()}
    assert kept >= {diff_id[7:] for diff_id in APP_1.image.diff_ids}
    assert not kept & {diff_id[7:] for diff_id in APP_2.image.diff_ids[1:]}
    assert aboard("remove", "app:2")[0] == 1
    assert aboard("images") == (0, f"{APP_1.image_id} app:1\n")


def test_an_image_the_cloud_wants_kept_is_not_removed(aboard, tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    path.write_bytes(docker_save(APP_1))
    aboard("load", str(path))
    state = tmp_path / "root/state"
    state.mkdir()
    (state / "desired.json").write_text(f'{{"keepImages": ["{APP_1.image_id}"]}}')

    code, said = aboard("remove", "app:1")

    assert (code, "device.image_kept" in said) == (1, True)
