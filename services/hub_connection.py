"""The connection string of a hub's service side."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

_FORM = "HostName=<address>;SharedAccessKeyName=<policy>;SharedAccessKey=<base64>"


@dataclass(frozen=True)
class HubConnection:
    """Where a hub is and who we are to it; ``host`` is an address with or without http:// and a path."""

    host: str
    policy: str
    key: bytes = field(repr=False)

    @staticmethod
    def parse(text: str) -> HubConnection:
        """Raises: ValueError saying what is missing or wrong; it never holds the key."""
        parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
        for name in ("HostName", "SharedAccessKeyName", "SharedAccessKey"):
            if not parts.get(name):
                raise ValueError(f"lacks {name}: it is {_FORM}")
        try:
            key = base64.b64decode(parts["SharedAccessKey"], validate=True)
        except ValueError:
            raise ValueError("has a SharedAccessKey that is not base64") from None
        return HubConnection(parts["HostName"].rstrip("/"), parts["SharedAccessKeyName"], key)
