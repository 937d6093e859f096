"""Mail by SMTP: one connection for each message, plain text in UTF-8."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import format_datetime

from imagedelta.errors import DependencyError, RequestError
from services.clock import utc_now
from services.ports import Clock, Mail
from services.settings import MailSettings

_TIMEOUT = 30
"""Seconds for each answer of the server."""


class SmtpMailer:
    """The port ``Mailer`` on an SMTP server, with STARTTLS and AUTH where the settings say so."""

    def __init__(self, settings: MailSettings, *, now: Clock = utc_now) -> None:
        self._settings = settings
        self._now = now

    def send(self, mail: Mail) -> None:
        message = self._compose(mail)
        try:
            server = self._connect()
            try:
                server.send_message(message, self._settings.sender, [mail.recipient])
            finally:
                _leave(server)
        except smtplib.SMTPRecipientsRefused as error:
            code, reply = next(iter(error.recipients.values()))
            raise _refusal(mail.recipient, code, reply) from error
        except smtplib.SMTPDataError as error:
            raise _refusal(mail.recipient, error.smtp_code, error.smtp_error) from error
        except (smtplib.SMTPException, OSError) as error:
            raise DependencyError(
                f"mail server {self._settings.host}:{self._settings.port}: {error}", code="dependency.mail"
            ) from error

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        server = smtplib.SMTP(settings.host, settings.port, timeout=_TIMEOUT)
        try:
            if settings.starttls:
                server.starttls(context=ssl.create_default_context())
            if settings.username is not None:
                server.login(settings.username, settings.password or "")
        except BaseException:
            server.close()
            raise
        return server

    def _compose(self, mail: Mail) -> EmailMessage:
        message = EmailMessage()
        try:
            message["From"] = self._settings.sender
            message["To"] = mail.recipient
            message["Subject"] = mail.subject
            message["Date"] = format_datetime(self._now())
            message["Message-ID"] = mail.message_id
        except ValueError as error:
            raise RequestError(f"mail to {mail.recipient!r}: {error}", code="mail.refused") from error
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.body, charset="utf-8")
        return message


def _leave(server: smtplib.SMTP) -> None:
    """Say goodbye. The server has taken the message before, or not: its farewell changes neither."""
    with suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def _refusal(recipient: str, code: int, reply: bytes | str) -> RequestError | DependencyError:
    """Of the recipient or of the message: 5xx is final, 4xx may heal. A refusal of ourselves (login, sender,
    address) is not judged here: a person can heal it, so it is tried again.

    Source: RFC 5321, section 4.2.1.
    """
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    detail = f"{recipient}: {code} {text}"
    if 500 <= code < 600:
        return RequestError(detail, code="mail.refused")
    return DependencyError(detail, code="dependency.mail")
