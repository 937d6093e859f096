"""Microsoft's own ODBC driver against a stand-in that lets it in or not: what reaches our codes, and what is sent.

The store's statements are not run here: that needs a server (`make test-sql`).
"""

from __future__ import annotations

import datetime
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from sqlalchemy import text

from imagedelta.errors import DependencyError, RequestError
from imagedelta_cli.checks.sql import check_database
from store.kernel import sql_server
from store.kernel.engine import Database
from store.sql import SqlStore
from tests.e2e.cloud import odbc_driver
from tests.simulators.tds_server import TdsServer, tds_server

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", autouse=True)
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return odbc_driver.register(tmp_path_factory.mktemp("odbc"))


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with tds_server() as server:
        yield server


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between tries, which are not slept."""
    found: list[float] = []
    retries = Database.__init__.__globals__["Retries"]
    monkeypatch.setitem(Database.__init__.__globals__, "Retries", lambda: retries(sleep=found.append))
    return found


def url(server: TdsServer, login: str = "app:secret-word@", more: str = "Encrypt=no") -> str:
    return f"mssql+pyodbc://{login}127.0.0.1:{server.port}/fleet?{more}"


def ask(database: Database) -> object:
    return database.write(lambda connection: connection.execute(text("UPDATE t SET a = 1")).rowcount)


def test_the_drivers_library_is_found_and_lets_the_app_in(server: TdsServer) -> None:
    database = Database(url(server))

    ask(database)

    assert server.logins == 1
    assert "UPDATE t SET a = 1" in server.statements[-1]
    database.close()


def test_a_refused_login_is_told_by_its_code_and_never_tried_again(server: TdsServer, naps: list[float]) -> None:
    server.refuse_all = 18456
    database = Database(url(server))

    with pytest.raises(DependencyError) as caught:
        ask(database)

    assert caught.value.code == "dependency.login"
    assert "secret-word" not in str(caught.value)
    assert (server.logins, naps) == (1, [])
    database.close()


def test_a_database_that_wakes_up_is_waited_for(server: TdsServer, naps: list[float]) -> None:
    server.refuse = [40613, 40613, 40613]
    database = Database(url(server))

    ask(database)

    assert server.logins == 4
    assert len(naps) == 3 and sum(naps) > 2
    database.close()


def test_a_port_where_nobody_listens_is_a_dependency_that_does_not_answer(
    naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_server, "LOGIN_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    store = SqlStore(f"mssql+pyodbc://app:x@127.0.0.1:{port}/fleet?Encrypt=no")
    begun = time.monotonic()

    with pytest.raises(DependencyError, match="SQL does not answer"):
        store.healthy()

    assert time.monotonic() - begun < 10
    assert naps == []
    store.close()


def test_a_deadlock_is_run_again_on_the_same_connection(server: TdsServer, naps: list[float]) -> None:
    server.fail = [1205]
    database = Database(url(server))

    ask(database)

    assert server.logins == 1
    assert sum("UPDATE t" in said for said in server.statements) == 2
    database.close()


def test_a_server_that_moves_the_database_is_asked_again_on_a_new_connection(
    server: TdsServer, naps: list[float]
) -> None:
    server.fail = [40197]
    database = Database(url(server))

    ask(database)

    assert server.logins == 2
    database.close()


def test_without_a_login_in_the_url_each_new_connection_sends_a_fresh_token(tmp_path: Path, naps: list[float]) -> None:
    tokens = iter(["first.token.x", "second.token.x"])
    with tds_server(certificate(tmp_path)) as server:
        server.fail = [0, 40613]
        encrypted = "TrustServerCertificate=yes&driver=ODBC+Driver+18+for+SQL+Server"
        database = Database(url(server, "", encrypted), lambda: next(tokens))
        ask(database)
        ask(database)
        database.close()

        assert [token.decode("utf-16-le") for token in server.tokens] == ["first.token.x", "second.token.x"]


@pytest.mark.parametrize(
    ("login", "more"),
    [("app:secret@", "Encrypt=no"), ("", "Encrypt=no&UID=app&PWD=secret")],
)
def test_with_a_login_in_the_url_no_token_is_asked_for(server: TdsServer, login: str, more: str) -> None:
    def forbidden() -> str:
        raise AssertionError("a token was asked for")

    database = Database(url(server, login, more), forbidden)

    ask(database)

    assert (server.logins, server.tokens) == (1, [])
    database.close()


def test_a_driver_that_is_not_there_is_named_with_those_that_are(server: TdsServer) -> None:
    with pytest.raises(RequestError, match=r"ODBC Driver 17 .* is not installed .*driver=ODBC\+Driver\+18") as caught:
        Database(url(server, more="driver=ODBC+Driver+17+for+SQL+Server"))

    assert caught.value.code == "settings.invalid"


def test_the_doctor_says_what_is_wrong_with_a_login(server: TdsServer) -> None:
    server.refuse_all = 18456

    (finding,) = check_database(url(server, more="Encrypt=no&driver=ODBC+Driver+18+for+SQL+Server"))

    assert "18456" in finding.found
    assert "secret-word" not in str(finding)


def test_the_doctor_leaves_the_login_by_identity_to_the_app(server: TdsServer) -> None:
    (finding,) = check_database(url(server, ""))

    assert "managed identity" in finding.found
    assert server.logins == 0


def certificate(folder: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
