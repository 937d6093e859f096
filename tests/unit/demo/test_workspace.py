from __future__ import annotations

from pathlib import Path

import pytest

from demo.workspace import FolderNotOurs, Workspace


def test_a_run_starts_without_anything_of_the_one_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "demo", tmp_path / "downloads")
    workspace.start_clean()
    workspace.summary.write_text("{}")

    workspace.start_clean()

    assert not workspace.summary.exists()
    assert workspace.archives.is_dir()


def test_a_folder_with_other_peoples_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(FolderNotOurs, match="name another folder"):
        Workspace(tmp_path, tmp_path / "downloads").start_clean()

    assert (tmp_path / "thesis.txt").read_text() == "years of work"
