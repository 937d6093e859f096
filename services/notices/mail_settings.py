"""Settings of mail: the server and how to speak with it, who sends, who gets copies."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.setting_values import Values

ADDRESS = re.compile(r"[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]{1,189}")
NONE, STARTTLS, TLS = "none", "starttls", "tls"
_PORTS = {NONE: 25, STARTTLS: 587, TLS: 465}
"""Of submission, RFC 8314; 25 is for a relay of one's own."""
EVERY_WORKSTREAM = ""
_MAX_COPIES = 20


@dataclass(frozen=True)
class MailSettings:
    host: str
    port: int
    security: str
    """``none``, ``starttls`` or ``tls`` (from the first byte)."""
    sender: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    copies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Workstream, or ``EVERY_WORKSTREAM`` -> who gets a copy of what its owners are told."""

    @property
    def domain(self) -> str:
        return self.sender.rpartition("@")[2]

    def copies_of(self, workstream: str) -> tuple[str, ...]:
        everywhere = self.copies.get(EVERY_WORKSTREAM, ())
        return tuple(dict.fromkeys((*everywhere, *self.copies.get(workstream, ()))))


def read_mail(read: Values) -> MailSettings:
    host = read.text("IMAGEDELTA_SMTP_HOST", "127.0.0.1")
    security = read.choice("IMAGEDELTA_SMTP_SECURITY", NONE if is_here(host) else STARTTLS, (NONE, STARTTLS, TLS))
    username = read.text("IMAGEDELTA_SMTP_USER") or None
    if username and security == NONE and not is_here(host):
        read.wrong(
            "IMAGEDELTA_SMTP_SECURITY",
            f"is none, so that the password of IMAGEDELTA_SMTP_USER would cross the network in the clear to {host}: "
            "set starttls or tls",
        )
    for name in ("IMAGEDELTA_SMTP_USER", "IMAGEDELTA_SMTP_PASSWORD"):
        if not read.text(name).isascii():
            read.wrong(name, "must be ASCII: Python's SMTP client knows no other login")
    return MailSettings(
        host=host,
        port=read.number("IMAGEDELTA_SMTP_PORT", _PORTS.get(security, 25), most=65_535),
        security=security,
        sender=_sender(read),
        username=username,
        password=read.text("IMAGEDELTA_SMTP_PASSWORD") or None,
        copies=_copies(read),
    )


def is_here(host: str) -> bool:
    """Whether it is this machine: nobody listens on the way."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _sender(read: Values) -> str:
    name = "IMAGEDELTA_MAIL_FROM"
    sender = read.text(name, "imagedelta@localhost")
    if not ADDRESS.fullmatch(sender):
        read.wrong(name, f"must be a mail address, not {sender[:60]!r}")
    return sender


def _copies(read: Values) -> Mapping[str, tuple[str, ...]]:
    """``ops@example.org, engines=plant@example.org``: for every workstream, or for one."""
    name = "IMAGEDELTA_MAIL_COPIES"
    copies: dict[str, tuple[str, ...]] = {}
    given = [part.strip() for part in read.text(name).split(",") if part.strip()]
    for part in given:
        workstream, _, address = part.rpartition("=") if "=" in part.partition("@")[0] else ("", "", part)
        if not ADDRESS.fullmatch(address.strip()):
            read.wrong(name, f"holds {part[:60]!r}: write ADDRESS or WORKSTREAM=ADDRESS, with commas between")
            continue
        key = workstream.strip()
        copies[key] = (*copies.get(key, ()), address.strip())
    if len(given) > _MAX_COPIES:
        read.wrong(name, f"holds {len(given)} addresses; {_MAX_COPIES} are the most")
    return copies
