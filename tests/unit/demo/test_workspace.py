from __future__ import annotations

from pathlib import Path

import pytest

from demo.workspace import FolderNotOurs, Workspace


def test_a_run_starts_without_anything_of_the_one_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "demo", tmp_path / "downloads")
    with workspace.start_clean():
        workspace.summary.write_text("{}")
        (workspace.logs / "host.log").write_text("old")

    with workspace.start_clean():
        assert not workspace.summary.exists()
        assert list(workspace.logs.iterdir()) == []


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "demo", tmp_path / "downloads")
    with workspace.start_clean():
        workspace.summary.write_text("{}")

        with pytest.raises(FolderNotOurs, match="a run of the demo has"), workspace.start_clean():
            pass

        assert workspace.summary.exists()


def test_a_folder_with_other_peoples_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(FolderNotOurs, match="holds other things"), Workspace(tmp_path, tmp_path / "d").start_clean():
        pass

    assert (tmp_path / "thesis.txt").read_text() == "years of work"
