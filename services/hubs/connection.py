"""Where a hub's service side is, and who we are to it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

_FORM = "HostName=<address>;SharedAccessKeyName=<policy>;SharedAccessKey=<base64>"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?")
"""The host name that Azure shows, never one that is put together from the hub's name: hubs have names of their own."""


@dataclass(frozen=True)
class HubConnection:
    """``host`` is a host name, with a port or without; of a local hub a URL with its path."""

    host: str
    policy: str = ""
    key: bytes | None = field(default=None, repr=False)
    """None: by the identity of the app."""

    @property
    def url(self) -> str:
        return self.host if "://" in self.host else f"https://{self.host}"

    @property
    def is_local(self) -> bool:
        """Plain HTTP, as the embedded host serves it."""
        return self.url.startswith("http://")

    @property
    def text(self) -> str:
        """As a connection string."""
        key = base64.b64encode(self.key or b"").decode()
        return f"HostName={self.host};SharedAccessKeyName={self.policy};SharedAccessKey={key}"

    @staticmethod
    def parse(text: str) -> HubConnection:
        """A connection string, or a host name alone.

        Raises: ValueError saying what is missing or wrong; it never holds the key.
        """
        text = text.strip()
        if "=" not in text:
            if not _HOST.fullmatch(text) or "." not in text:
                raise ValueError(f"is neither a host name nor {_FORM}")
            return HubConnection(text)
        parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
        for name in ("HostName", "SharedAccessKeyName", "SharedAccessKey"):
            if not parts.get(name):
                raise ValueError(f"lacks {name}: it is {_FORM}, or the host name alone for the app's identity")
        host = parts["HostName"].rstrip("/")
        if "://" not in host and not _HOST.fullmatch(host):
            raise ValueError("has a HostName that is none")
        try:
            key = base64.b64decode(parts["SharedAccessKey"], validate=True)
        except ValueError:
            raise ValueError("has a SharedAccessKey that is not base64") from None
        return HubConnection(host, parts["SharedAccessKeyName"], key)
