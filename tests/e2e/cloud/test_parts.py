"""The parts are as strict as what they stand for: a test that passes over them has logged in and spoken TLS."""

from __future__ import annotations

import smtplib
from pathlib import Path

import httpx
import pytest

from tests.e2e.parts import registry_logins
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.registry_process import RegistryProcess
from tests.e2e.parts.smtp_server import PASSWORD, USER, SmtpServer
from tests.e2e.parts.token_server import TokenServer

pytestmark = pytest.mark.e2e
MESSAGE = "From: a@example.org\r\nTo: b@example.org\r\nSubject: hello\r\n\r\nhello\r\n"


def test_a_registry_is_closed_to_whoever_does_not_log_in(registry: RegistryProcess) -> None:
    login = (registry_logins.USER, registry_logins.PASSWORD)

    assert [httpx.get(f"{registry.url}/v2/", auth=auth).status_code for auth in (None, login)] == [401, 200]


def test_a_registry_that_wants_tokens_says_where_they_are_had(tmp_path: Path) -> None:
    tokens = TokenServer(tmp_path, "ann", "secret")
    try:
        with RegistryProcess(tmp_path / "registry", more=registry_logins.bearer(tokens)) as registry:
            refused = httpx.get(f"{registry.url}/v2/app/tags/list")
            token = httpx.get(
                tokens.realm,
                params={"service": "test-registry", "scope": "repository:app:pull"},
                auth=("ann", "secret"),
            ).json()["token"]
            known = httpx.get(f"{registry.url}/v2/app/tags/list", headers={"Authorization": f"Bearer {token}"})
    finally:
        tokens.stop()

    assert (refused.status_code, tokens.realm in refused.headers["www-authenticate"]) == (401, True)
    assert known.status_code == 404  # let in: there is no such repository


def test_a_mail_server_takes_nothing_before_starttls_and_a_login(smtp: SmtpServer, authority: Authority) -> None:
    with smtplib.SMTP(smtp.host, smtp.port, timeout=10) as client:
        with pytest.raises(smtplib.SMTPException, match="STARTTLS"):
            client.sendmail("a@example.org", ["b@example.org"], MESSAGE)
        client.starttls(context=authority.context())
        with pytest.raises(smtplib.SMTPException, match="Authentication"):
            client.sendmail("a@example.org", ["b@example.org"], MESSAGE)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(USER, "wrong")
        client.login(USER, PASSWORD)
        client.sendmail("a@example.org", ["b@example.org"], MESSAGE)

    of_here = [mail for mail in smtp.received if mail.message["Subject"] == "hello"]  # others share the server
    assert [(mail.login, mail.encrypted) for mail in of_here] == [(USER, True)]


def test_blobs_are_had_over_tls_alone(azurite: Azurite) -> None:
    azurite.service.create_container("of-test-parts")

    assert [one.name for one in azurite.service.list_containers("of-test-parts")] == ["of-test-parts"]
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(azurite.url)
