"""The real services that the tests of the cloud side share; each test has names of its own in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.parts import registry_logins
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.registry_process import RegistryProcess
from tests.e2e.parts.smtp_server import SmtpServer, server_tls
from tests.e2e.parts.storage_identity import storage_token
from tests.simulators.managed_identity import managed_identity

_FREED_UNCLOSED = "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Python 3.11 does not close a socket that is reset before its handshake (``ssl.SSLSocket._create``; 3.13 does):
    the garbage collector tells of it in whichever test it runs. test_blobs_links counts what stays open of ours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(_FREED_UNCLOSED))


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Vouches for every part that speaks TLS."""
    return Authority()


@pytest.fixture(scope="session")
def trust(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> dict[str, str]:
    """How a process is told whose certificates it believes: the Azure SDK reads the first, all others the second."""
    path = str(authority.write(tmp_path_factory.mktemp("trust")))
    return {"REQUESTS_CA_BUNDLE": path, "SSL_CERT_FILE": path}


@pytest.fixture(scope="session")
def identity() -> Iterator[dict[str, str]]:
    """How an app is told where tokens of its managed identity are had; ``azurite`` believes them."""
    with managed_identity() as endpoint:
        endpoint.tokens["https://storage.azure.com"] = storage_token()
        yield endpoint.environment


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Azurite]:
    """Over https, with a shared key and with tokens."""
    azurite = Azurite(tmp_path_factory.mktemp("azurite"), authority)
    try:
        yield azurite.wait_until_ready()
    finally:
        azurite.stop()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """It asks for a login (tests/e2e/parts/registry_logins.py)."""
    folder = tmp_path_factory.mktemp("registry")
    with RegistryProcess(folder, more=registry_logins.basic(folder)) as registry:
        yield registry


@pytest.fixture(scope="session")
def smtp(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SmtpServer]:
    """It wants STARTTLS and a login."""
    server = SmtpServer(server_tls(authority, tmp_path_factory.mktemp("smtp")))
    yield server
    server.stop()
