"""Every file of the state folder, damaged in every way: refused by name with a remedy, or repaired and said so."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from imagedelta_host.durable.store import DurableStore
from imagedelta_host.errors import HostError, StateDamaged
from imagedelta_host.keys import HostKeys
from imagedelta_host.mounts import Place
from imagedelta_host.state import StateFolder
from imagedelta_host.timers import TimerStatus, TimerStatuses
from imagedelta_local.mount import LocalServices

WRITER = """
import os, signal, sys
from pathlib import Path
from tests.unit.host.test_state_damage import State
state = State(Path(sys.argv[1]))
state.write()
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
state.close()
os._exit(0)
"""
DATABASES = ("durable.sqlite", "iothub.sqlite")


class State:
    """Everything the host opens at its start."""

    def __init__(self, folder: Path) -> None:
        with ExitStack() as opened:
            self.folder = StateFolder(folder)
            opened.callback(self.folder.withdraw)
            keys = HostKeys(folder / "keys.json")
            self.local = LocalServices(Place(folder, "http://host", keys.of_mount), "north")
            opened.callback(self.local.close)
            self.local.settings()
            self.durable = DurableStore(folder / "durable.sqlite")
            opened.callback(self.durable.close)
            self.timers = TimerStatuses(folder / "timers.json")
            self.close = opened.pop_all().close

    def write(self) -> None:
        """Leave something in every file; big enough that part of it has moved from the log to the database."""
        self.timers.set("sweep", TimerStatus("2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"))
        for number in range(400):
            with self.durable.transaction():
                self.durable.add_work("it", "run", number, "step", "x" * 20_000)
        self.folder.announce("http://host", 4711, "k", "m", self.local.describe())


@pytest.fixture(scope="module", params=["killed", "closed"])
def used(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder after a host was killed, or after it was closed in order."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [sys.executable, "-c", WRITER, str(folder), request.param]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], check=False)
    assert ended.returncode in (0, -signal.SIGKILL)
    return folder


def lost(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_json(path: Path) -> None:
    path.write_text('{"a": [1, {"b": null}], "function": 7, "session": "x", "sweep": {"next": 5}}')


def nested(path: Path) -> None:
    path.write_text("[" * 200_000)


def wrong_list(path: Path) -> None:
    path.write_text("[1, 2]")


BYTES = (lost, emptied, garbage, half, a_folder)
JSON = (*BYTES, other_json, nested, wrong_list)
REFUSED = [("keys.json", damage) for damage in JSON if damage is not lost]
REFUSED += [(name, damage) for name in DATABASES for damage in BYTES]
REFUSED += [(f"{name}.session", damage) for name in DATABASES for damage in JSON if damage is not lost]
LOGS = [(f"{name}-wal", damage) for name in DATABASES for damage in (lost, emptied, garbage, a_folder)]
REPAIRED = [("timers.json", damage) for damage in JSON if damage is not lost]
HARMLESS = [(name, damage) for name in ("port", "endpoint.json") for damage in JSON if damage is not a_folder]

Damage = Callable[[Path], None]


def damaged(used: Path, to: Path, name: str, damage: Damage) -> Path:
    """A copy of the folder with one file damaged."""
    folder = to / "state"
    shutil.copytree(used, folder)
    if not (folder / name).exists():
        (folder / name).write_bytes(b"there")
    damage(folder / name)
    return folder


def kept(folder: Path) -> dict[str, bytes]:
    """The files that a refusal must leave as they are."""
    return {path.name: path.read_bytes() for path in folder.glob("[kt]*.json") if path.is_file()}


def test_undamaged_state_is_opened_again_with_all_that_was_in_it(used: Path, tmp_path: Path) -> None:
    folder = damaged(used, tmp_path, "unrelated", lost)

    state = State(folder)

    assert len(state.durable.pending_work()) == 400
    assert state.timers.of("sweep").last == "2026-01-01T00:00:00+00:00"
    state.close()


@pytest.mark.parametrize(("name", "damage"), REFUSED)
def test_damage_is_refused_by_name_with_a_remedy_and_nothing_is_overwritten(
    used: Path, tmp_path: Path, name: str, damage: Damage
) -> None:
    folder = damaged(used, tmp_path, name, damage)
    before = kept(folder)

    if damage in (garbage, half) and name == "iothub.sqlite" and (used / "iothub.sqlite-wal").exists():
        state = State(folder)  # the log of a killed host still holds every page of a small database
        assert state.local.describe()["hubs"] == json.loads((used / "endpoint.json").read_text())["hubs"]
        state.close()
        return
    with pytest.raises(StateDamaged, match="(?s)" + name.removesuffix(".session") + ".*(delete|Put back)"):
        State(folder)

    assert kept(folder) == before


@pytest.mark.parametrize(("name", "damage"), LOGS)
def test_a_lost_or_damaged_log_is_refused_after_a_kill_and_needless_after_an_orderly_end(
    used: Path, tmp_path: Path, name: str, damage: Damage
) -> None:
    killed = (used / name).exists()
    folder = damaged(used, tmp_path, name, damage)

    if killed or damage is a_folder:
        with pytest.raises(StateDamaged, match=name.removesuffix("-wal")):
            State(folder)
    else:
        State(folder).close()


@pytest.mark.parametrize(("name", "damage"), REPAIRED)
def test_what_is_worth_little_is_set_aside_and_said_so(
    used: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: Damage
) -> None:
    folder = damaged(used, tmp_path, name, damage)

    state = State(folder)
    state.timers.set("sweep", TimerStatus("2026-02-01T00:00:00+00:00"))

    assert len(list(folder.glob(f"{name}.damaged-*"))) == 1
    assert [record.levelno for record in caplog.records if name in record.getMessage()] == [logging.ERROR]
    assert json.loads((folder / name).read_text())["sweep"]["last"] == "2026-02-01T00:00:00+00:00"
    state.close()


@pytest.mark.parametrize(("name", "damage"), HARMLESS)
def test_what_is_written_anew_at_each_start_does_no_harm(used: Path, tmp_path: Path, name: str, damage: Damage) -> None:
    state = State(damaged(used, tmp_path, name, damage))

    assert state.folder.last_port() in range(1 << 16)
    state.close()


def test_lost_keys_are_made_anew_and_said_so(used: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = damaged(used, tmp_path, "keys.json", lost)

    State(folder).close()

    assert any("new keys were made" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("name", DATABASES)
def test_an_older_copy_of_a_database_is_refused_until_a_person_accepts_it(
    used: Path, tmp_path: Path, name: str
) -> None:
    folder = damaged(used, tmp_path, "unrelated", lost)
    State(folder).close()
    copy = (folder / name).read_bytes()
    State(folder).close()
    (folder / name).write_bytes(copy)

    with pytest.raises(StateDamaged, match="an older copy"):
        State(folder)
    (folder / f"{name}.session").unlink()
    State(folder).close()


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("statement", ["drop table {}", "alter table {} add column more text"])
def test_other_tables_than_ours_are_refused(used: Path, tmp_path: Path, name: str, statement: str) -> None:
    folder = damaged(used, tmp_path, "unrelated", lost)
    State(folder).close()
    with closing(sqlite3.connect(folder / name)) as database:
        database.execute(statement.format("inbox" if name.startswith("durable") else "message"))
        database.commit()

    with pytest.raises(StateDamaged, match="its tables are not those"):
        State(folder)


def test_a_file_in_the_place_of_the_state_folder_or_of_the_blobs_is_refused(used: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="cannot be used"):
        StateFolder(tmp_path / "file")

    folder = damaged(used, tmp_path, "unrelated", lost)
    shutil.rmtree(folder / "blobs")
    (folder / "blobs").write_text("")
    with pytest.raises(StateDamaged, match="blobs"):
        State(folder)
