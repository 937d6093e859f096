"""Keys of the host: who may call HTTP functions, the admin interface and the durable webhooks."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.files import write_atomic


@dataclass(frozen=True)
class HostKeys:
    """The keys of one state folder; they stay the same across restarts.

    Attributes:
        function: Opens HTTP functions of the level ``function``.
        master: Opens everything, with it the admin interface.
        durable: Opens the durable webhooks; part of the management URLs.
        rpc: Path segment under which the SDK's own client finds the host.
        blobs: Signs access to local blobs, base64.
    """

    function: str
    master: str
    durable: str
    rpc: str
    blobs: str


def load_keys(path: Path) -> HostKeys:
    """Read the keys, or make and store new ones (mode 0600) when there are none.

    Raises:
        SettingInvalid: The file exists but is not what this host wrote.
    """
    if path.exists():
        try:
            return HostKeys(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise SettingInvalid(f"{path} does not hold the host's keys: {error}") from error
    names = ("function", "master", "durable", "rpc")
    keys = HostKeys(**{name: secrets.token_urlsafe(32) for name in names}, blobs=_base64_key())
    write_atomic(path, json.dumps(asdict(keys), indent=2).encode())
    return keys


def _base64_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def opens(query: Mapping[str, str], headers: Mapping[str, str], *accepted: str) -> bool:
    """Whether a request brings one of the keys: header ``x-functions-key`` or query parameter ``code``."""
    offered = (headers.get("x-functions-key"), query.get("code"))
    return any(same(key, *accepted) for key in offered if key)


def same(offered: str, *accepted: str) -> bool:
    """Whether ``offered`` is one of ``accepted``, compared in constant time."""
    given = offered.encode()
    return any(hmac.compare_digest(given, key.encode()) for key in accepted)
