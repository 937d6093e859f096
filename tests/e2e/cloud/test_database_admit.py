"""The app's identity is let into Azure SQL: what Microsoft's driver sends, and who logs in for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagedelta.errors import DependencyError, RequestError
from store.sql import SqlStore
from tests.e2e.cloud import odbc_driver
from tests.simulators.tds_server import TdsServer, tds_server

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[3]
CLIENT = "00112233-4455-6677-8899-aabbccddeeff"
SID = "0x33221100554477668899AABBCCDDEEFF"
WANTED = [
    f"IF EXISTS (SELECT 1 FROM sys.database_principals WHERE name = N'id-ships' AND sid <> {SID}) DROP USER [id-ships]",
    "IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = N'id-ships') "
    f"CREATE USER [id-ships] WITH SID = {SID}, TYPE = E",
    "ALTER ROLE db_datareader ADD MEMBER [id-ships]",
    "ALTER ROLE db_datawriter ADD MEMBER [id-ships]",
]


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return odbc_driver.register(tmp_path_factory.mktemp("odbc"))


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with tds_server() as server:
        yield server


def sent(server: TdsServer) -> list[str]:
    """Without what the driver puts before the text of a batch."""
    return [
        re.sub(r"^.*?(?=IF |ALTER )", "", each, flags=re.DOTALL) for each in server.statements if "id-ships" in each
    ]


def url(server: TdsServer) -> str:
    return f"mssql+pyodbc://admin:secret-word@127.0.0.1:{server.port}/fleet?Encrypt=no"


def test_the_identity_may_read_and_write_and_no_more(server: TdsServer) -> None:
    store = SqlStore(url(server))

    store.admit("id-ships", CLIENT)

    store.close()
    assert sent(server) == WANTED


@pytest.mark.parametrize("broken", range(4))
def test_a_statement_that_fails_leaves_nothing_half_done_and_is_told(server: TdsServer, broken: int) -> None:
    server.fail = [0] * broken + [15151]
    store = SqlStore(url(server))

    with pytest.raises(DependencyError, match="administers") as caught:
        store.admit("id-ships", CLIENT)

    store.close()
    assert caught.value.code == "dependency.login"
    assert len(sent(server)) == broken + 1


@pytest.mark.parametrize(
    ("name", "client"),
    [("x] WITH PASSWORD", CLIENT), ("id-ships'; DROP TABLE devices --", CLIENT), ("", CLIENT), ("id-ships", "none")],
)
def test_what_is_no_identity_never_reaches_the_server(server: TdsServer, name: str, client: str) -> None:
    store = SqlStore(url(server))

    with pytest.raises(RequestError) as caught:
        store.admit(name, client)

    store.close()
    assert caught.value.code == "settings.invalid"
    assert (server.logins, server.statements) == (0, [])


def run_admit(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("imagedelta"), "db", "admit", *arguments],
        cwd=ROOT,
        env={**os.environ, "IMAGEDELTA_DATABASE_URL": url, "AZURE_IDENTITY_NAME": "id-ships"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_step_of_a_deployment_does_it(server: TdsServer) -> None:
    done = run_admit(url(server), "id-ships", CLIENT)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert sent(server) == WANTED


def test_the_step_fails_where_nobody_is_let_in(server: TdsServer) -> None:
    server.refuse_all = 18456

    done = run_admit(url(server), "id-ships", CLIENT)

    assert done.returncode == 3
    assert "dependency.login" in done.stderr and "secret-word" not in done.stderr


def test_sqlite_has_no_users(tmp_path: Path) -> None:
    done = run_admit(f"sqlite:///{tmp_path}/x.db", "id-ships", CLIENT)

    assert done.returncode == 1
    assert "names no SQL Server" in done.stderr


def test_a_deployment_without_its_resources_says_what_comes_first() -> None:
    done = subprocess.run(
        [ROOT / "scripts/azure-database"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "azd provision" in done.stderr
