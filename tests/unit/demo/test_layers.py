from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from demo.layers import File, text_file, write_layer


def test_a_layer_has_the_same_diff_id_in_whatever_order_its_files_come(tmp_path: Path) -> None:
    files = [text_file("etc/a", "one", 5), text_file("app/lib/b", "two", 6), File("bin/sh", 7, link="/app/lib/b")]

    forward = write_layer(files, tmp_path / "1.tar", 9)
    backward = write_layer(reversed(files), tmp_path / "2.tar", 9)

    assert forward.diff_id == backward.diff_id
    assert forward.diff_id == "sha256:5aba0ab00de1a09ae723a6c2a34eecbe2db07102f962749d91527f4c2552887f"


def test_a_layer_holds_its_files_with_their_parent_folders(tmp_path: Path) -> None:
    written = write_layer([text_file("app/lib/b", "two", 6), File("bin/sh", 7, link="/app/b")], tmp_path / "l.tar", 9)

    with tarfile.open(written.path) as tar:
        members = {member.name: member for member in tar}
        assert list(members) == ["app", "app/lib", "app/lib/b", "bin", "bin/sh"]
        content = tar.extractfile("app/lib/b")
        assert content is not None and content.read() == b"two"
    assert members["app"].isdir() and members["app"].mtime == 9
    assert (members["bin/sh"].linkname, members["bin/sh"].uid, members["bin/sh"].uname) == ("/app/b", 0, "")
    assert written.size == written.path.stat().st_size


def test_the_same_path_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="etc/a is twice"):
        write_layer([text_file("etc/a", "1", 5), text_file("etc/a", "2", 5)], tmp_path / "l.tar", 9)
