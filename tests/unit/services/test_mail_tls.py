"""Mail over TLS to real servers: what is trusted, and that nothing goes on in the clear."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from imagedelta.errors import DependencyError
from services.notices.mail_settings import MailSettings
from services.notices.mail_smtp import SmtpMailer
from tests.e2e.parts.certificates import Authority
from tests.unit.services.test_mail_smtp import MAIL, Sink, free_port


class Served:
    def __init__(self, folder: Path, address: str) -> None:
        self.sink = Sink()
        self.logins: list[tuple[str, bytes, bytes]] = []
        self.authority = Authority()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(*self.authority.issue(folder, address))

    def login(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        self.logins.append((mechanism, data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    @contextmanager
    def running(self, security: str, **options: Any) -> Iterator[MailSettings]:
        controller = Controller(
            self.sink,
            hostname="127.0.0.1",
            port=free_port(),
            ssl_context=self.tls if security == "tls" else None,
            authenticator=self.login,
            **({"auth_require_tls": False} if security == "tls" else {}),
            **options,
        )
        controller.start()
        try:
            yield MailSettings("127.0.0.1", controller.port, security, "fleet@example.org", "user", "right")
        finally:
            controller.stop()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    served = Served(tmp_path, "127.0.0.1")
    trust(served.authority, tmp_path, monkeypatch)
    return served


def trust(authority: Authority, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ca.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))


def test_login_and_mail_go_through_starttls(served: Served) -> None:
    with served.running("starttls", tls_context=served.tls, require_starttls=True) as settings:
        SmtpMailer(settings).send(MAIL)

    assert served.logins == [("PLAIN", b"user", b"right")] or served.logins[0][0] in ("LOGIN", "PLAIN")
    assert [mail["Message-ID"] for mail in served.sink.received] == [MAIL.message_id]


def test_login_and_mail_go_through_tls_from_the_first_byte(served: Served) -> None:
    with served.running("tls") as settings:
        SmtpMailer(settings).send(MAIL)

    assert [mail["Message-ID"] for mail in served.sink.received] == [MAIL.message_id]


def test_a_server_that_knows_only_the_login_of_azure_communication_services_takes_it(served: Served) -> None:
    only_login = {"tls_context": served.tls, "require_starttls": True, "auth_exclude_mechanism": ["PLAIN"]}
    with served.running("starttls", **only_login) as settings:
        SmtpMailer(settings).send(MAIL)

    assert [mechanism for mechanism, *_ in served.logins] == ["LOGIN"]
    assert len(served.sink.received) == 1


def test_where_starttls_was_stripped_neither_login_nor_mail_goes_out(served: Served) -> None:
    with served.running("starttls", auth_require_tls=False) as settings, pytest.raises(DependencyError) as caught:
        SmtpMailer(settings).send(MAIL)

    assert caught.value.code == "dependency.mail"
    assert (served.logins, served.sink.received) == ([], [])


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_certificate_that_is_not_the_hosts_gets_neither_login_nor_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str, wrong: str
) -> None:
    served = Served(tmp_path, "127.0.0.2" if wrong == "name" else "127.0.0.1")
    trust(served.authority if wrong == "name" else Authority(), tmp_path, monkeypatch)
    options = {"tls_context": served.tls} if security == "starttls" else {}

    with served.running(security, **options) as settings, pytest.raises(DependencyError, match="certificate") as caught:
        SmtpMailer(settings).send(MAIL)

    assert caught.value.code == "dependency.mail"
    assert (served.logins, served.sink.received) == ([], [])


def test_a_wrong_password_is_tried_again_and_is_not_shown(served: Served) -> None:
    with served.running("tls") as settings:
        wrong = MailSettings(settings.host, settings.port, "tls", settings.sender, "user", "canary-password")
        with pytest.raises(DependencyError, match="535") as caught:
            SmtpMailer(wrong).send(MAIL)

    assert caught.value.code == "dependency.mail"
    assert "canary" not in str(caught.value)
