"""Settings of the webhook: where events are posted to, and the secrets that sign them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.notices.mail_settings import is_here
from services.setting_values import Values

_PREFIX = "whsec_"
_FEWEST, _MOST = 24, 64
"""Bytes of a secret: Standard Webhooks 1.0.0, "Signature scheme"; its libraries take no more than 64."""
_MAX_SECRETS = 3


@dataclass(frozen=True)
class WebhookSettings:
    url: str = field(repr=False)
    """Its path or query may be a secret."""
    secrets: tuple[bytes, ...] = field(repr=False)
    """Each signs: while a secret is changed, the receiver may know the old one or the new one."""

    @property
    def host(self) -> str:
        """What may be shown of the URL."""
        return urlsplit(self.url).netloc


def read_webhook(read: Values) -> WebhookSettings | None:
    """None when none is set."""
    url, secrets = _url(read), _secrets(read)
    if url and not secrets:
        read.wrong(
            "IMAGEDELTA_WEBHOOK_SECRET",
            "is not set: give whsec_ and 24 to 64 random bytes in base64, which the receiver knows, too",
        )
    return WebhookSettings(url, secrets) if url else None


def _url(read: Values) -> str:
    name = "IMAGEDELTA_WEBHOOK_URL"
    url = read.text(name)
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        read.wrong(name, "must be an absolute https:// URL")
    elif parts.username is not None or parts.fragment:
        read.wrong(name, "must hold no login and no fragment")
    elif parts.scheme != "https" and not (parts.scheme == "http" and is_here(host)):
        read.wrong(name, "must begin with https://; http:// is for this machine only")
    else:
        return url
    return ""


def _secrets(read: Values) -> tuple[bytes, ...]:
    name = "IMAGEDELTA_WEBHOOK_SECRET"
    given = read.text(name).split()
    secrets = tuple(secret for text in given if (secret := _secret(text)) is not None)
    if len(secrets) < len(given) or len(given) > _MAX_SECRETS:
        read.wrong(
            name,
            f"must be whsec_ and {_FEWEST} to {_MOST} bytes in base64; at most {_MAX_SECRETS} of them, with spaces "
            "between",
        )
    return secrets


def _secret(text: str) -> bytes | None:
    if not text.startswith(_PREFIX):
        return None
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except ValueError:
        return None
    return secret if _FEWEST <= len(secret) <= _MOST else None
