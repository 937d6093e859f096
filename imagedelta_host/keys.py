"""Keys of the host: who may call HTTP functions, the admin interface and the durable webhooks."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path

from imagedelta_host.errors import StateDamaged
from imagedelta_host.files import read_object, write_private

log = logging.getLogger("imagedelta_host")

_REMEDY = (
    "Put back a copy; or delete it to have new keys made: then every key and signed address handed out so far is void"
)
_NAMES = ("function", "master", "durable", "rpc")


class HostKeys:
    """The keys of one state folder, in one file; they stay the same across restarts.

    Attributes:
        function: Opens HTTP functions of the level ``function``.
        master: Opens everything, with it the admin interface.
        durable: Opens the durable webhooks; part of the management URLs.
        rpc: Path segment under which the SDK's own client finds the host.
    """

    def __init__(self, path: Path) -> None:
        """Read the keys, or make and store new ones (mode 0600) when there is no such file.

        Raises:
            StateDamaged: The file exists but is not what this host wrote.
        """
        self._path = path
        self._keys = _read(path)
        if not self._keys:
            if any(path.parent.glob("*.session")):
                log.warning("%s was gone and new keys were made: what was handed out before is void", path)
            # Hex: a key that begins with "-" is taken for an option by commands it is handed to.
            self._store({name: secrets.token_hex(32) for name in _NAMES})
        self.function, self.master, self.durable, self.rpc = (self._keys[name] for name in _NAMES)

    def of_mount(self, name: str) -> str:
        """The key of what is mounted beside the functions, base64; made when it is not there.

        Raises:
            StateDamaged: The one in the file is no base64.
        """
        if name not in self._keys:
            self._store({**self._keys, name: base64.b64encode(secrets.token_bytes(32)).decode()})
        try:
            base64.b64decode(self._keys[name], validate=True)
        except ValueError as error:
            raise StateDamaged(f"the key {name} in {self._path} is no base64. {_REMEDY}") from error
        return self._keys[name]

    def _store(self, keys: dict[str, str]) -> None:
        write_private(self._path, json.dumps(keys, indent=2).encode())
        self._keys = keys


def _read(path: Path) -> dict[str, str]:
    """The keys in a file; none when there is no file.

    Raises:
        StateDamaged: It is no JSON object of texts, or one of ``_NAMES`` is missing or empty.
    """
    try:
        keys = read_object(path)
    except StateDamaged as error:
        raise StateDamaged(f"{error}. {_REMEDY}") from error
    texts = all(isinstance(key, str) and key for key in keys.values())
    if not texts or (path.exists() and not keys.keys() >= set(_NAMES)):
        raise StateDamaged(f"{path} does not hold the host's keys. {_REMEDY}")
    return keys


def opens(query: Mapping[str, str], headers: Mapping[str, str], *accepted: str) -> bool:
    """Whether a request brings one of the keys: header ``x-functions-key`` or query parameter ``code``."""
    offered = (headers.get("x-functions-key"), query.get("code"))
    return any(same(key, *accepted) for key in offered if key)


def same(offered: str, *accepted: str) -> bool:
    """Whether ``offered`` is one of ``accepted``, compared in constant time."""
    given = offered.encode("utf-8", "surrogateescape")  # bytes that are no UTF-8 are no key
    return any(hmac.compare_digest(given, key.encode()) for key in accepted)
