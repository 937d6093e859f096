"""A file is whole or absent: nobody sees it before its bytes are on the disk, and nothing is left beside it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagedelta.whole_files import make_folder, whole_file, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def order(monkeypatch):
    """What reaches the disk, in its order."""
    seen: list[str] = []

    def note(name: str, call):
        monkeypatch.setattr(os, name, lambda *args, **kwargs: (seen.append(name), call(*args, **kwargs))[1])

    for name in ("fsync", "replace", "link"):
        note(name, getattr(os, name))
    return seen


def test_the_bytes_are_on_the_disk_before_the_name_is_and_the_name_is_made_to_last(tmp_path, order):
    write_whole(tmp_path / "a", b"whole")

    assert order == ["fsync", "replace", "fsync"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    with pytest.raises(ValueError, match="broken"), whole_file(path) as out:
        out.write(b"half")
        raise ValueError("broken")

    assert (names(tmp_path), path.read_bytes()) == (["a"], b"old")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")

    assert (names(tmp_path), path.read_bytes()) == (["a"], b"old")


def test_a_file_that_came_meanwhile_is_kept_where_it_may_not_be_replaced(tmp_path):
    path = tmp_path / "a"

    with pytest.raises(FileExistsError), whole_file(path, replace=False) as out:
        out.write(b"ours")
        path.write_bytes(b"theirs")

    assert (names(tmp_path), path.read_bytes()) == (["a"], b"theirs")


def test_a_file_system_without_hard_links_takes_new_names_too(tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with whole_file(tmp_path / "a", replace=False) as out:
        out.write(b"ours")

    assert (names(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"ours")


@pytest.mark.parametrize(("mode", "after"), [(None, 0o640), (0o600, 0o600)])
def test_a_replaced_file_hands_its_permissions_on_unless_others_are_asked_for(tmp_path, mode, after):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)

    write_whole(path, b"new", mode=mode)

    assert stat.S_IMODE(path.stat().st_mode) == after


def test_what_a_killed_process_of_the_same_number_left_is_not_written_into(tmp_path, monkeypatch):
    monkeypatch.setattr("imagedelta.whole_files._numbers", iter([7, 8]))
    left = tmp_path / f".imagedelta-{os.getpid()}-7.tmp"
    left.write_bytes(b"another's")

    write_whole(tmp_path / "a", b"new")

    assert (names(tmp_path), left.read_bytes()) == ([left.name, "a"], b"another's")


def test_folders_are_made_with_their_parents(tmp_path):
    make_folder(tmp_path / "one" / "two")
    make_folder(tmp_path / "one" / "two")

    assert (tmp_path / "one" / "two").is_dir()


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127], ids=["ascii", "two bytes a letter"])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, name):
    write_whole(tmp_path / name, b"whole")

    assert names(tmp_path) == [name]
