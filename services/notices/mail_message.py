"""A mail as a message of RFC 5322: what any server may carry and any program shows.

Text and HTML in one (multipart/alternative), both in lines of at most 76 ASCII characters (quoted-printable): so no
server needs 8BITMIME, and none wraps or spoils a line. Only a mailbox whose own name is not ASCII needs SMTPUTF8.
"""

from __future__ import annotations

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime

from imagedelta.errors import RequestError
from services.notices.mail_settings import MailSettings
from services.ports import Mail

_SENDER_NAME = "imagedelta"


def compose(mail: Mail, settings: MailSettings, at: datetime) -> EmailMessage:
    """Raises: RequestError ``mail.refused`` for what cannot stand in a header."""
    sender, recipient = ascii_domain(settings.sender), ascii_domain(mail.recipient)
    copies = [ascii_domain(copy) for copy in mail.copies]
    utf8 = not "".join((sender, recipient, *copies)).isascii()
    message = EmailMessage(SMTPUTF8 if utf8 else SMTP)
    thread = f"<{mail.thread}@{ascii_domain(settings.sender).rpartition('@')[2]}>"
    headers = {
        "From": _address(_SENDER_NAME, sender),
        "To": _address(mail.recipient_name, recipient),
        "Cc": [_address("", copy) for copy in copies],
        "Subject": mail.subject,
        "Date": format_datetime(at),
        "Message-ID": ascii_domain(mail.message_id),
        # of the order itself, which nobody was sent: mails of one set refer to it, so they are shown together
        "References": thread,
        "In-Reply-To": thread,
        "Thread-Topic": mail.topic,
        "List-Id": _list_id(mail.workstream, thread),
        "Auto-Submitted": "auto-generated",  # RFC 3834: nobody's absence is to answer us
        "X-Auto-Response-Suppress": "All",  # the same for Exchange
    }
    try:
        for name, value in headers.items():
            if value:
                message[name] = value
        message.set_content(mail.text, charset="utf-8", cte="quoted-printable")
        message.add_alternative(mail.html, subtype="html", charset="utf-8", cte="quoted-printable")
    except (ValueError, UnicodeError) as error:
        raise RequestError(f"mail to {mail.recipient!r}: {error}", code="mail.refused") from error
    return message


def ascii_domain(address: str) -> str:
    """The address with its domain as DNS has it: only the part before the @ may need more than ASCII.

    Raises: RequestError ``mail.refused`` when its domain is none.
    """
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return f"{local}{at}{domain.encode('idna').decode()}"
    except UnicodeError as error:
        raise RequestError(f"{address!r} has no domain: {error}", code="mail.refused") from error


def _address(name: str, address: str) -> Address:
    local, _, domain = address.rpartition("@")
    try:
        return Address(display_name=name, username=local, domain=domain)
    except (ValueError, UnicodeError) as error:
        raise RequestError(f"{address!r} is no mail address: {error}", code="mail.refused") from error


def _list_id(workstream: str, thread: str) -> str:
    """RFC 2919: a phrase and a name of the form of a domain, by which people sort."""
    domain = thread.rpartition("@")[2].removesuffix(">")
    label = "".join(each if each.isascii() and (each.isalnum() or each == "-") else "-" for each in workstream)
    return f"<{label}.imagedelta.{domain}>"
