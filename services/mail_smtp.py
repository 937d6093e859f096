"""Mail by SMTP: one connection for each message, plain text in UTF-8."""

from __future__ import annotations

import smtplib
import ssl
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
            with self._connect() as server:
                server.send_message(message, self._settings.sender, [mail.recipient])
        except smtplib.SMTPRecipientsRefused as error:
            code, reply = next(iter(error.recipients.values()))
            raise _refusal(mail.recipient, code, reply) from error
        except smtplib.SMTPResponseException as error:
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


def _refusal(recipient: str, code: int, reply: bytes | str) -> RequestError | DependencyError:
    """5xx about the message or its recipient is final; 4xx, and 5xx about our login, may heal.

    Source: RFC 5321, section 4.2.1; RFC 4954, section 6 (530, 534, 535, 538 concern authentication).
    """
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    detail = f"{recipient}: {code} {text}"
    if 500 <= code < 600 and code not in (530, 534, 535, 538):
        return RequestError(detail, code="mail.refused")
    return DependencyError(detail, code="dependency.mail")
