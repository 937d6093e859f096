"""Shared access signatures of IoT Hub: ``SharedAccessSignature sr=…&sig=…&se=…[&skn=…]``.

Source: "Control access to IoT Hub using shared access signatures" (public documentation).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from urllib.parse import unquote

from imagedelta_local.iothub.answers import HubError

_SCHEME = "SharedAccessSignature "
_WHOLE = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Token:
    """A parsed signature; ``resource`` is percent-encoded as it was signed, ``expiry`` seconds since the epoch."""

    resource: str
    signature: str
    expiry: str
    policy: str

    @staticmethod
    def parse(header: str) -> Token:
        """Read an Authorization header.

        Raises:
            HubError: It is missing or not of this form.
        """
        if not header.startswith(_SCHEME) or not header.isascii():
            raise unauthorized("the request has no shared access signature")
        fields = dict(part.partition("=")[::2] for part in header[len(_SCHEME) :].split("&"))
        if not {"sr", "sig", "se"} <= fields.keys():
            raise unauthorized("the shared access signature lacks sr, sig or se")
        return Token(fields["sr"], unquote(fields["sig"]), fields["se"], unquote(fields.get("skn", "")))

    def require(self, key: str, path: str) -> None:
        """Check the signature, its time and that its resource covers ``path`` (decoded, from /iothub on).

        Raises:
            HubError: One of them is wrong.
        """
        if not hmac.compare_digest(self.signature.encode(), sign(key, self.resource, self.expiry).encode()):
            raise unauthorized("the shared access signature is wrong")
        if not _WHOLE.fullmatch(self.expiry) or int(self.expiry) < time.time():
            raise unauthorized("the shared access signature has expired")
        covered = unquote(self.resource).lower()
        parts = covered[covered.find("/iothub/") :].rstrip("/").split("/")
        if path.lower().split("/")[: len(parts)] != parts:
            raise unauthorized("the shared access signature is for another resource")


def sign(key: str, resource: str, expiry: str) -> str:
    """The signature over a percent-encoded resource and an expiry; ``key`` is base64."""
    digest = hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def unauthorized(message: str) -> HubError:
    """The request may not do this."""
    return HubError("IotHubUnauthorizedAccess", message, 401)
