"""``imagedelta db upgrade``: the schema belongs to the deployment."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from imagedelta_cli.main import run

ROOT = Path(__file__).parents[3]


def revision(database: Path) -> str:
    with sqlite3.connect(database) as connection:
        return str(connection.execute("select version_num from alembic_version").fetchone()[0])


def test_the_database_gets_the_schema_of_the_apps_version_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "x.db"
    monkeypatch.setenv("IMAGEDELTA_DATABASE_URL", f"sqlite:///{database}")

    codes = [run(["db", "upgrade", "--app", str(ROOT), "--json"]) for _ in range(2)]

    first, again = (json.loads(line)["schema"] for line in capsys.readouterr().out.splitlines())
    assert (codes, first, again) == ([0, 0], revision(database), revision(database))


def test_the_file_beside_the_blobs_is_upgraded_where_no_database_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEDELTA_BLOBS_DIR", str(tmp_path / "blobs"))

    assert run(["db", "upgrade", "--app", str(ROOT)]) == 0

    assert revision(tmp_path / "imagedelta.db")


def test_a_database_of_a_newer_version_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "x.db"
    monkeypatch.setenv("IMAGEDELTA_DATABASE_URL", f"sqlite:///{database}")
    run(["db", "upgrade", "--app", str(ROOT)])
    with sqlite3.connect(database) as connection:
        connection.execute("update alembic_version set version_num = '9999'")

    assert run(["db", "upgrade", "--app", str(ROOT)]) == 3

    assert revision(database) == "9999"
    assert "dependency.schema" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["", "sqlite:///x.db"])
def test_without_a_database_to_upgrade_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("IMAGEDELTA_DATABASE_URL", url)

    assert run(["db", "upgrade", "--app", str(tmp_path)]) == 1

    assert "cli.no_database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
