"""A mail server that keeps every mail it is given as a file and sends none on."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class ReceivedMail:
    message_id: str
    recipient: str
    subject: str
    body: str


class MailSink:
    """Listens on a free loopback port. A context manager; ``port`` is set inside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._controller = _FreePort(_Keeper(folder), hostname="127.0.0.1", port=0)
        self.port = 0

    def __enter__(self) -> MailSink:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._controller.start()
        self.port = self._controller.port
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def mails(self) -> list[ReceivedMail]:
        """Every delivery so far, oldest first: a mail that came twice is there twice."""
        return [_read(path) for path in sorted(self._folder.glob("*.eml"))]


class _FreePort(Controller):
    def _trigger_server(self) -> None:
        """aiosmtpd connects to its own server once at start: by then it must know which port it got."""
        if isinstance(self.server, asyncio.Server):
            self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


class _Keeper:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        number = len(list(self._folder.glob("*.eml"))) + 1
        target = self._folder / f"{number:04}.eml"
        content = envelope.content or b""
        partial = target.with_suffix(".part")
        partial.write_bytes(content if isinstance(content, bytes) else content.encode())
        partial.rename(target)
        return "250 Kept"


def _read(path: Path) -> ReceivedMail:
    message = email.message_from_bytes(path.read_bytes(), EmailMessage, policy=email.policy.default)
    text = message.get_body(("plain",))
    return ReceivedMail(
        message_id=str(message["Message-ID"] or ""),
        recipient=str(message["To"] or ""),
        subject=str(message["Subject"] or ""),
        body=text.get_content().replace("\r\n", "\n") if text else "",
    )
