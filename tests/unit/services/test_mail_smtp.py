"""Mail: what arrives at a real SMTP server, and which refusals are final."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from imagedelta.errors import DependencyError, RequestError
from services.notices.mail_settings import MailSettings
from services.notices.mail_smtp import SmtpMailer
from services.ports import Mail

MAIL = Mail(
    message_id="<notification-1@example.org>",
    recipient="owner@example.org",
    recipient_name="Özlem, von der Werft",
    copies=(),
    subject="Fertig: Schiff Ä — Bilder",
    text="Alle Geräte haben die Bilder.\n.\nGruß\n",
    html="<p>Alle Geräte haben die Bilder.</p>\n",
    thread="set-1",
    topic="Fertig",
    workstream="engine room",
)


class Sink:
    """Keeps what it is sent; answers RCPT with what the recipient's name asks for."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.farewell = "221 bye"
        self.answer = "250 kept"

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("blocked"):
            return "550 you may not send"
        envelope.mail_from = address
        return "250 OK"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return self.farewell

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        code = address.partition("@")[0]
        if code.isdigit():
            return f"{code} as you wish"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.received.append(message)
        return self.answer


@pytest.fixture
def sink() -> Sink:
    return Sink()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(sink: Sink) -> Iterator[MailSettings]:
    def login(server: object, session: object, envelope: object, mechanism: str, data: LoginPassword) -> AuthResult:
        right = (data.login, data.password) == (b"user", b"right")
        return AuthResult(success=right, handled=False)  # not handled: the server is to answer 535

    controller = Controller(sink, hostname="127.0.0.1", port=free_port(), authenticator=login, auth_require_tls=False)
    controller.start()
    yield _settings(controller.port)
    controller.stop()


def _settings(port: int, user: str | None = None, password: str | None = None) -> MailSettings:
    return MailSettings("127.0.0.1", port, "none", "imagedelta@example.org", user, password)


def part_of(mail: EmailMessage, subtype: str) -> str:
    part = mail.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def _mailer(settings: MailSettings) -> SmtpMailer:
    return SmtpMailer(settings, now=lambda: datetime(2030, 1, 31, 12, tzinfo=UTC))


def test_a_mail_arrives_with_its_id_date_and_text(server: MailSettings, sink: Sink) -> None:
    _mailer(server).send(MAIL)

    (mail,) = sink.received
    assert mail["Message-ID"] == MAIL.message_id
    [to] = mail["To"].addresses
    assert (to.display_name, to.addr_spec) == (MAIL.recipient_name, MAIL.recipient)
    assert mail["From"] == "imagedelta <imagedelta@example.org>"
    assert mail["Subject"] == MAIL.subject
    assert mail["Date"] == "Thu, 31 Jan 2030 12:00:00 +0000"
    assert mail.get_content_type() == "multipart/alternative"
    assert part_of(mail, "plain") == MAIL.text
    assert part_of(mail, "html") == MAIL.html


def test_sending_again_keeps_the_message_id(server: MailSettings, sink: Sink) -> None:
    mailer = _mailer(server)

    mailer.send(MAIL)
    mailer.send(MAIL)

    assert {mail["Message-ID"] for mail in sink.received} == {MAIL.message_id}


def test_a_login_is_used_where_the_settings_have_one(server: MailSettings, sink: Sink) -> None:
    _mailer(_settings(server.port, "user", "right")).send(MAIL)

    assert len(sink.received) == 1


def test_a_wrong_login_is_tried_again_because_a_person_can_heal_it(server: MailSettings) -> None:
    with pytest.raises(DependencyError) as caught:
        _mailer(_settings(server.port, "user", "wrong")).send(MAIL)
    assert caught.value.code == "dependency.mail"


def test_a_recipient_refused_for_good_is_final(server: MailSettings) -> None:
    mail = replace(MAIL, recipient="550@example.org")

    with pytest.raises(RequestError, match="550 as you wish") as caught:
        _mailer(server).send(mail)
    assert caught.value.code == "mail.refused"


def test_a_recipient_refused_for_now_is_tried_again(server: MailSettings) -> None:
    mail = replace(MAIL, recipient="450@example.org")

    with pytest.raises(DependencyError):
        _mailer(server).send(mail)


def test_a_message_refused_for_its_content_is_final(server: MailSettings, sink: Sink) -> None:
    sink.answer = "554 looks like spam"

    with pytest.raises(RequestError, match="looks like spam"):
        _mailer(server).send(MAIL)


def test_a_refusal_of_ourselves_is_tried_again_because_a_person_can_heal_it(server: MailSettings) -> None:
    blocked = MailSettings("127.0.0.1", server.port, "none", "blocked@example.org")

    with pytest.raises(DependencyError, match="you may not send"):
        _mailer(blocked).send(MAIL)


@pytest.mark.parametrize("farewell", ["421 in a hurry", "500 what?"])
def test_a_message_that_was_taken_is_sent_however_the_server_says_goodbye(
    server: MailSettings, sink: Sink, farewell: str
) -> None:
    sink.farewell = farewell

    _mailer(server).send(MAIL)

    assert len(sink.received) == 1


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(DependencyError):
        _mailer(_settings(free_port())).send(MAIL)


def test_a_subject_that_would_add_headers_is_refused(server: MailSettings, sink: Sink) -> None:
    mail = replace(MAIL, subject="Done\r\nBcc: everyone@example.org")

    with pytest.raises(RequestError) as caught:
        _mailer(server).send(mail)

    assert caught.value.code == "mail.refused"
    assert sink.received == []
