"""Mail by SMTP: one connection for each message, encrypted by STARTTLS or from the first byte where settings say so.

A server that does not offer STARTTLS, or whose certificate is not the host's, gets nothing: never on in the clear.
Azure Communication Services: host ``smtp.azurecomm.net``, port 587, STARTTLS, AUTH LOGIN with the SMTP username and the
client secret of the Entra application; 50 recipients, 10 MB; over its rate (30 a minute, 100 an hour at first) it
answers 450, so mails go out later. Source: learn.microsoft.com/azure/communication-services, "SMTP authentication".
"""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import EmailMessage

from imagedelta.errors import DependencyError, RequestError
from imagedelta.printable import printable
from services.clock import utc_now
from services.notices.mail_message import ascii_domain, compose
from services.notices.mail_settings import STARTTLS, TLS, MailSettings
from services.ports import Clock, Mail

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 30.0
"""Of the server, for each line that it is waited for."""
_WHOLE_SECONDS = 90.0
"""Of a delivery: below IMAGEDELTA_CLAIM_LEASE_SECONDS, whatever a server trickles."""
_SHOWN = 300
_AUTH_OR_POLICY = "5.7."
"""Enhanced codes that speak of us: not allowed to relay, to send so, in the clear. Source: RFC 3463, section 3.8."""


class SmtpMailer:
    """The port ``Mailer`` on an SMTP server."""

    def __init__(
        self,
        settings: MailSettings,
        *,
        now: Clock = utc_now,
        answer_seconds: float = _ANSWER_SECONDS,
        whole_seconds: float = _WHOLE_SECONDS,
    ) -> None:
        self._settings = settings
        self._now = now
        self._answer_seconds = answer_seconds
        self._whole_seconds = whole_seconds

    def send(self, mail: Mail) -> None:
        message = compose(mail, self._settings, self._now())
        recipients = [ascii_domain(address) for address in (mail.recipient, *mail.copies)]
        try:
            with self._connection() as server:
                _deliver(server, message, ascii_domain(self._settings.sender), recipients)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            where = f"mail server {self._settings.host}:{self._settings.port}"
            raise DependencyError(f"{where}: {_said(error)}", code="dependency.mail") from error

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        """Open, encrypted and logged in as the settings say; at its end within its time, whatever the server does."""
        settings, tls = self._settings, ssl.create_default_context()
        server = (
            _TlsClient(settings, self._answer_seconds, tls)
            if settings.security == TLS
            else _Client(settings, self._answer_seconds)
        )
        watch = threading.Timer(self._whole_seconds, server.cut)
        watch.daemon = True
        watch.start()
        try:
            code, reply = server.connect(settings.host, settings.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, reply)
            if settings.security == STARTTLS:
                server.starttls(context=tls)
            if settings.username is not None:
                server.login(settings.username, settings.password or "")
            try:
                yield server
            finally:
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()  # it has the message, or not: its farewell changes neither
        finally:
            watch.cancel()
            server.close()


class _Client(smtplib.SMTP):
    """That can be cut off by another thread, also in the middle of a TLS handshake."""

    _line: socket.socket | None = None
    """A second handle of the connection: TLS takes the first one for itself."""

    def __init__(self, settings: MailSettings, seconds: float) -> None:
        # it names itself by the sender's domain: to ask DNS for a name of ours may take as long as it likes
        super().__init__(local_hostname=ascii_domain(settings.domain), timeout=seconds)
        self._host = settings.host  # whom the certificate must name

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        self._line = made.dup()
        return made

    def cut(self) -> None:
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        if self._line is not None:
            self._line.close()


class _TlsClient(smtplib.SMTP_SSL, _Client):
    def __init__(self, settings: MailSettings, seconds: float, tls: ssl.SSLContext) -> None:
        smtplib.SMTP_SSL.__init__(self, local_hostname=ascii_domain(settings.domain), timeout=seconds, context=tls)
        self._host = settings.host


def _deliver(server: smtplib.SMTP, message: EmailMessage, sender: str, recipients: Sequence[str]) -> None:
    """To the first of the recipients; the others get copies where the server takes them."""
    options = []
    server.ehlo_or_helo_if_needed()
    if not "".join((sender, *recipients)).isascii():
        if not server.has_extn("smtputf8"):
            raise RequestError(
                f"{recipients[0]}: the mail server does not speak SMTPUTF8, which such addresses need",
                code="mail.refused",
            )
        options = ["SMTPUTF8"]
    _accepted(server.mail(sender, options), sender)
    recipient, *copies = recipients
    code, reply = server.rcpt(recipient)
    if code not in (250, 251):
        raise _refusal(recipient, code, reply, of_recipient=True)
    for copy in copies:
        code, reply = server.rcpt(copy)
        if code == 421:
            raise smtplib.SMTPServerDisconnected(_shown(reply))
        if code not in (250, 251):
            log.warning("a copy to %s is not taken: %d %s", copy, code, _shown(reply))
    try:
        code, reply = server.data(message.as_bytes())
    except smtplib.SMTPDataError as error:
        code, reply = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b""
    if code != 250:
        raise _refusal(recipient, code, reply, of_recipient=False)


def _accepted(answer: tuple[int, bytes], sender: str) -> None:
    """A refusal of ourselves: a person can heal it, so it is tried again."""
    code, reply = answer
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, reply, sender)


def _refusal(recipient: str, code: int, reply: bytes, *, of_recipient: bool) -> RequestError | DependencyError:
    """Of the recipient or of the message: 5xx is final, 4xx may heal; 421 and no answer are the server's.

    Source: RFC 5321, section 4.2.1.
    """
    detail = f"{recipient}: {code} {_shown(reply)}"
    if code == 421 or not 400 <= code < 600:
        return DependencyError(detail, code="dependency.mail")
    if code >= 500 and not (of_recipient and _shown(reply).startswith(_AUTH_OR_POLICY)):
        return RequestError(detail, code="mail.refused")
    return DependencyError(detail, code="mail.deferred")


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error if isinstance(error.smtp_error, bytes) else str(error.smtp_error).encode()
        return f"{error.smtp_code} {_shown(reply)}"
    return printable(" ".join(str(error).split()) or type(error).__name__)[:_SHOWN]


def _shown(reply: bytes) -> str:
    return printable(" ".join(reply.decode("utf-8", "replace").split()))[:_SHOWN]
