"""``imagedelta db``: the schema belongs to the deployment, and a restored database is brought to the truth."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.outbox import outbox_container
from contracts.requests import EnrolDevice
from imagedelta_cli.main import run
from services.blobs.folder import FolderBlobs
from store.sql import SqlStore

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


@pytest.fixture
def fleet_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlStore:
    """The settings and the database of an app with one device, whose outbox holds a bundle of a set that is lost."""
    monkeypatch.setenv("IMAGEDELTA_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    monkeypatch.setenv("LOCAL_BLOBS_DIR", str(tmp_path / "blobs"))
    monkeypatch.setenv("LOCAL_BLOBS_KEY", "a2V5")
    assert run(["db", "upgrade", "--app", str(ROOT)]) == 0
    store = SqlStore(f"sqlite:///{tmp_path / 'x.db'}")
    now = datetime(2030, 1, 1, tzinfo=UTC)
    store.devices.enrol("ship-1", EnrolDevice(hub="north"), "olga", now)
    FolderBlobs(tmp_path / "blobs", url="", key="a2V5").put(outbox_container("ship-1"), BUNDLE, [b"x"])
    return store


BUNDLE = "2-000000000007-transfer-0123-1.bundle"


def test_the_commands_of_the_runbook_say_what_they_find_and_do(
    fleet_of_one: SqlStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "runbooks" / "restored-database.md").read_text()
    commands = re.findall(r"^ *imagedelta (db .*)$", page, re.MULTILINE)
    capsys.readouterr()

    said = [(run(shlex.split(command)), capsys.readouterr().out) for command in commands]

    (dry_code, dry), (code, done) = said
    assert (dry_code, code) == (0, 0)
    assert "Devices to ask for an inventory, before which nothing is sent to them: 1" in dry
    assert "Files removed from outboxes: they belong to nothing under way: 1" in done
    assert "On ship-1: their sets may be lost" in done
    device = fleet_of_one.devices.device("ship-1")
    assert device is not None and device.resync > 10**8
    fleet_of_one.close()


def test_what_is_found_is_one_line_of_json_for_programs(
    fleet_of_one: SqlStore, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()

    codes = [run(["db", "reconcile", "--app", str(ROOT), "--yes", "--json"]) for _ in range(2)]

    first, again = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert codes == [0, 0]
    assert (first["bundlesRemoved"], again["bundlesRemoved"]) == (1, 0)
    assert first["hubsNotAsked"] == {"north": "request.unknown_hub"}
    fleet_of_one.close()


def test_a_database_without_devices_is_not_reconciled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEDELTA_BLOBS_DIR", str(tmp_path / "blobs"))
    run(["db", "upgrade", "--app", str(ROOT)])

    assert run(["db", "reconcile", "--app", str(ROOT), "--yes"]) != 0

    assert "reconcile.no_device" in capsys.readouterr().err
