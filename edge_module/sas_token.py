"""A module's connection string, and the token Azure IoT Hub takes in its place.

Source: learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas: HMAC-SHA256 over
"<URL-encoded resource URI>\\n<expiry>" with the base64-decoded key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

from imagedelta.errors import RequestError

_PARTS = ("HostName", "DeviceId", "ModuleId", "SharedAccessKey")


@dataclass(frozen=True)
class ModuleConnection:
    host: str
    """As written: a host name, or a URL whose path names the hub ("http://127.0.0.1:7071/iothub/north")."""
    device_id: str
    module_id: str
    key: bytes = field(repr=False)

    @property
    def base_url(self) -> str:
        """A host name without a scheme is reached by https."""
        return self.host.rstrip("/") if "://" in self.host else f"https://{self.host}"

    @property
    def module_path(self) -> str:
        return f"/devices/{quote(self.device_id, safe='')}/modules/{quote(self.module_id, safe='')}"

    @property
    def resource(self) -> str:
        """What a token is good for: "<host without scheme>/devices/<device>/modules/<module>", ids as they are."""
        host = self.host.rstrip("/").partition("://")[2] or self.host
        return f"{host}/devices/{self.device_id}/modules/{self.module_id}"

    def token(self, expiry: int) -> str:
        """The value of the Authorization header; ``expiry`` in seconds since 1970."""
        uri = quote_plus(self.resource)
        digest = hmac.new(self.key, f"{uri}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = quote_plus(base64.b64encode(digest))
        return f"SharedAccessSignature sr={uri}&sig={signature}&se={expiry}"


def connection_from_text(text: str) -> ModuleConnection:
    """Read "HostName=…;DeviceId=…;ModuleId=…;SharedAccessKey=<base64>".

    Raises: RequestError ``device.settings`` naming the part that is missing or wrong; never shows the key.
    """
    values = parts_of_connection(text)
    missing = [name for name in _PARTS if not values.get(name)]
    if missing:
        raise RequestError(f"connection string without {', '.join(missing)}", code="device.settings")
    try:
        key = base64.b64decode(values["SharedAccessKey"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("connection string: SharedAccessKey is not base64", code="device.settings") from error
    return ModuleConnection(values["HostName"], values["DeviceId"], values["ModuleId"], key)


def parts_of_connection(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.strip().split(";") if part)
