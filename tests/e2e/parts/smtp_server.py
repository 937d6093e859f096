"""A real mail server (aiosmtpd) that keeps what it is sent; with STARTTLS and AUTH when it is told to want them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.e2e.host_process import free_port
from tests.e2e.parts.certificates import Authority

USER, PASSWORD = "imagedelta", "a password of the mail server"


@dataclass(frozen=True)
class Received:
    recipients: list[str]
    content: bytes
    login: str | None
    """Who had logged in."""
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        return message


class SmtpServer:
    """Listens on the loopback interface; it can be stopped and started again on its port."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Args:
        tls: From ``server_tls``: then nobody sends without STARTTLS and a login as ``USER``.
        """
        self.received: list[Received] = []
        self.refusals: list[str] = []
        """Answers to the next messages, which are not kept."""
        self.host = "127.0.0.1"
        self.port = free_port()
        self._tls = tls
        self._controller: Controller | None = None
        self.start()

    def start(self) -> None:
        wanted: dict[str, Any] = {"tls_context": self._tls, "require_starttls": True}
        wanted |= {"auth_required": True, "authenticator": _login}
        self._controller = Controller(self, hostname=self.host, port=self.port, **(wanted if self._tls else {}))
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def to(self, recipient: str) -> list[EmailMessage]:
        """What has come for somebody, oldest first."""
        return [mail.message for mail in self.received if recipient in mail.recipients]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusals:
            return self.refusals.pop()
        content = envelope.content
        assert isinstance(content, bytes)
        login = session.auth_data.login.decode() if session.auth_data else None
        self.received.append(Received(envelope.rcpt_tos, content, login, session.ssl is not None))
        return "250 kept"


def server_tls(authority: Authority, folder: Path) -> ssl.SSLContext:
    """For a server at 127.0.0.1 that whoever trusts ``authority`` believes."""
    certificate, key = authority.issue(folder, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def _login(server: object, session: object, envelope: object, mechanism: str, data: LoginPassword) -> AuthResult:
    right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False, auth_data=data)  # not handled: the server is to answer 535
