"""The doctor: useful words on a bare machine, a failure for what is named and does not work, never a traceback."""

from __future__ import annotations

import json
import sqlite3
import sys
from types import ModuleType

import pytest

from imagedelta_cli import exits
from imagedelta_cli.checks.finding import State
from imagedelta_cli.checks.libraries import check_codecs, check_libraries, check_native
from imagedelta_cli.checks.places import check_folder
from imagedelta_cli.checks.sql import check_database
from imagedelta_cli.main import run
from tests.unit.registry.http_world import HttpWorld

_VARIABLES = ("DOCKER_HOST", "IMAGEDELTA_URL", "IMAGEDELTA_KEY", "IMAGEDELTA_REGISTRY", "IMAGEDELTA_STORAGE")
_VARIABLES += ("IMAGEDELTA_DATABASE_URL", "IMAGEDELTA_BLOBS_DIR", "LOCAL_BLOBS_DIR", "AzureWebJobsStorage")


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys):
    """Run it in an empty folder; return the exit code and the findings by check."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("imagedelta_registry.client.time.sleep", lambda seconds: None)
    monkeypatch.setattr("imagedelta_cli.api_client.time.sleep", lambda seconds: None)
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def call(*arguments: str, **settings: str):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = run(["doctor", "--json", *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        document = json.loads(out.splitlines()[-1])
        assert document["failed"] == sum(row["state"] == "failed" for row in document["checks"])
        return code, {row["check"]: row for row in document["checks"]}

    return call


def test_a_bare_machine_gets_words_and_no_failure(doctor):
    code, found = doctor()

    assert code == exits.DONE
    assert {found[name]["state"] for name in ("settings", "registry", "storage", "database", "host")} == {
        "not configured"
    }
    assert {found[f"codec {name}"]["state"] for name in ("zlib", "liblzma", "zstd")} == {"ok"}


def test_it_prints_for_people_too(doctor, capsys):
    doctor()
    run(["doctor"])

    assert "not configured  registry: none is named\n                -> To check one" in capsys.readouterr().out


def test_what_is_named_and_does_not_answer_has_failed_with_what_to_do(doctor, tmp_path):
    code, found = doctor(
        "--registry",
        "127.0.0.1:1",
        DOCKER_HOST=f"unix://{tmp_path}/no.sock",
        IMAGEDELTA_URL="http://127.0.0.1:1",
        IMAGEDELTA_BLOBS_DIR=f"{tmp_path}/absent",
        IMAGEDELTA_DATABASE_URL="postgresql://ann:s3cret@h/db",
    )

    failed = {name for name, row in found.items() if row["state"] == "failed"}
    assert (code, failed) == (exits.REFUSED, {"registry", "docker", "host", "storage", "database"})
    assert all(found[name]["remedy"] for name in failed)
    assert "s3cret" not in json.dumps(found)


def test_settings_are_read_as_the_host_reads_them(doctor, tmp_path):
    (tmp_path / "blobs").mkdir()
    values = {"IMAGEDELTA_BLOBS_DIR": "blobs", "IMAGEDELTA_DATABASE_URL": f"sqlite:///{tmp_path}/own.db"}
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": values}))
    with sqlite3.connect(tmp_path / "own.db") as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('0007')")
    database.close()

    code, found = doctor()

    assert (code, found["settings"]["state"], found["storage"]["state"]) == (exits.DONE, "ok", "ok")
    assert found["database"]["found"].endswith("own.db answers, schema 0007")


def test_a_database_that_was_never_upgraded_is_told_with_the_command(doctor, tmp_path, monkeypatch):
    sqlite3.connect(tmp_path / "own.db").execute("create table other (x)").connection.close()
    monkeypatch.setenv("IMAGEDELTA_DATABASE_URL", f"sqlite:///{tmp_path}/own.db")

    _, found = doctor()

    assert found["database"]["state"] == "failed"
    assert "imagedelta db upgrade" in found["database"]["remedy"]


def test_broken_settings_are_a_finding(doctor, tmp_path):
    (tmp_path / "local.settings.json").write_text("{")

    code, found = doctor()

    assert (code, found["settings"]["state"]) == (exits.REFUSED, "failed")


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (401, "warning"), (404, "failed")])
def test_a_registry_is_asked(doctor, status, state):
    world = HttpWorld()
    try:
        world.routes["/v2/"] = (status, {"WWW-Authenticate": 'Basic realm="r"'}, b"{}")
        code, found = doctor("--registry", world.address)
    finally:
        world.close()

    assert (found.get(f"registry {world.address}") or found["registry"])["state"] == state
    assert code == (exits.REFUSED if state == "failed" else exits.DONE)


def test_an_account_that_is_away_fails_only_where_the_host_needs_it(doctor):
    away = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a;"

    code, found = doctor(AzureWebJobsStorage=away)
    assert (code, found["storage AzureWebJobsStorage"]["state"]) == (exits.DONE, "warning")

    code, found = doctor(IMAGEDELTA_STORAGE=away)
    assert (code, found["storage IMAGEDELTA_STORAGE"]["state"]) == (exits.REFUSED, "failed")


def test_a_file_that_is_no_database_has_failed(tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database" * 100)

    (finding,) = check_database(f"sqlite:///{tmp_path}/x.db")

    assert finding.state is State.FAILED


def test_sql_server_without_its_driver_has_failed_and_names_it():
    (finding,) = check_database("mssql+pyodbc://ann:s3cret@h/db?driver=No+Such+Driver")

    assert (finding.state, "s3cret" in finding.found) == (State.FAILED, False)
    assert "msodbcsql18" in finding.remedy


def test_a_library_of_another_version_than_the_pinned_one_is_a_warning(tmp_path):
    (tmp_path / "constraints.txt").write_text("zstandard==0.1\nclick==0.1\n")

    found = {finding.check: finding for finding in check_libraries(tmp_path / "constraints.txt")}

    assert found["library zstandard"].state is State.WARNING
    assert "tested with 0.1" in found["library zstandard"].found
    assert "library pytest" not in found


def test_a_codec_that_changes_its_input_is_found(monkeypatch):
    monkeypatch.setattr("imagedelta_cli.checks.libraries.lzma.decompress", lambda data: b"other")

    assert [finding.state for finding in check_codecs()] == [State.OK, State.OK, State.FAILED, State.OK]


def test_a_full_disk_is_told_before_it_is_full(tmp_path, monkeypatch):
    for free, state in ((10**12, State.OK), (10**9, State.WARNING), (10**6, State.FAILED)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("imagedelta_cli.checks.places.shutil.disk_usage", lambda folder, usage=usage: usage)
        assert [finding.state for finding in check_folder("x", tmp_path)] == [state]


def test_a_native_coder_that_is_there_gives_a_sample_back() -> None:
    assert [finding.state for finding in check_native()] == [State.OK]


def test_a_native_coder_that_is_missing_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagedelta_native", None)

    (finding,) = check_native()

    assert (finding.state, finding.found) == (State.NOT_CONFIGURED, "not installed")


def test_a_native_coder_that_gives_other_bytes_back_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagedelta_native", ModuleType("imagedelta_native"))

    assert [finding.state for finding in check_native()] == [State.FAILED]
