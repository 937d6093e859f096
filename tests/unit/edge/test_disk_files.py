"""The file port on a real folder, and the commands that use it."""

from __future__ import annotations

import errno
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

    (tmp_path / "file").write_bytes(b"")

    for act in (
        lambda: files.create("file/below"),
        lambda: files.append("file/below", 3),
        lambda: files.make_folders("file"),
        lambda: files.make_folders("file/below"),
        lambda: files.rename("none", "some"),
        lambda: files.sync_folder("none"),
        lambda: files.open("."),
        lambda: files.create("."),
        lambda: files.list("x" * 300),
        lambda: files.size("x" * 300),
        lambda: files.kind("x" * 300),
        lambda: files.remove("x" * 300),
        lambda: DiskFiles(tmp_path / "none").free_bytes(),
    ):
        with pytest.raises(DependencyError) as caught:
            act()
        assert caught.value.code == "disk.failing"


def test_a_pipe_is_no_file_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bundle")
    files = DiskFiles(tmp_path)

    assert (files.size("a.bundle"), files.kind("a.bundle")) == (None, "other")
    for use in (files.open, files.create, lambda name: files.append(name, 1)):
        with pytest.raises(DependencyError):
            use("a.bundle")


def test_links_are_seen_through_and_one_that_leads_nowhere_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"12")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "folder").symlink_to(".")
    (tmp_path / "lost").symlink_to("none")
    files = DiskFiles(tmp_path)

    assert [files.kind(name) for name in ("real", "link", "folder", "lost", "none")] == [
        "file",
        "file",
        "folder",
        "other",
        None,
    ]
    assert (files.size("link"), files.size("lost")) == (2, None)
    files.remove("folder")
    write_atomically(files, "link", b"new")
    assert ((tmp_path / "real").read_bytes(), (tmp_path / "link").is_symlink()) == (b"12", False)


def test_a_folder_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"1")
    (tmp_path / "kept").mkdir()
    (tmp_path / "a/link").symlink_to(tmp_path / "kept")

    DiskFiles(tmp_path).remove("a")

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_folder_that_was_removed_meanwhile_is_made_again(files) -> None:
    write_atomically(files, "a/b/one", b"1")
    files.make_folders("c")
    move_durably(files, "a/b/one", "d/e/one")
    files.append("f/part", 0).close()

    assert (files.list("a/b"), files.list("d/e"), files.list("f")) == ([], ["one"], ["part"])


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk.full"),
        (errno.EDQUOT, "disk.full"),
        (errno.EROFS, "disk.read_only"),
        (errno.EIO, "disk.failing"),
        (errno.EACCES, "disk.failing"),
    ],
)
def test_what_a_disk_refuses_has_a_code_for_each_way(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = DiskFiles(tmp_path)
    writer = files.create("one")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for call, act in {
        "write": lambda: writer.write(b"1"),
        "fsync": writer.sync,
        "open": lambda: files.create("two"),
    }.items():
        with monkeypatch.context() as patch, pytest.raises(DependencyError) as caught:
            patch.setattr(os, call, refuse)
            act()
        assert (caught.value.code, "one" in str(caught.value) or "two" in str(caught.value)) == (code, True)
    writer.close()


def test_a_disk_that_fails_in_the_middle_of_a_file_is_a_dependency_too(tmp_path: Path) -> None:
    (tmp_path / "bad").symlink_to("/proc/self/mem")  # its first page is not there: EIO

    with DiskFiles(tmp_path).open("bad") as stream:
        for length in (1, 100_000, -1):
            with pytest.raises(DependencyError) as caught:
                stream.read(length)
            assert caught.value.code == "disk.failing"


def test_a_folder_that_takes_no_lock_file_is_locked_itself(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()

    with RootLock(tmp_path), pytest.raises(RequestError) as caught, RootLock(tmp_path):
        pass
    assert caught.value.code == "device.busy"


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
