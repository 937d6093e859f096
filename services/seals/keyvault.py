"""Seals by a P-256 key that never leaves Azure Key Vault: one ES256 signature of the vault for each bundle.

A key is named with its version: Key Vault's rotation makes new versions by itself, and a device trusts only what it was
given. The public half is read once; every signature is held against it before anything is published.

Not here: how often to try again for long (whoever publishes). A vault signs 4,000 times in ten seconds with a software
key of P-256, 2,000 times with one of an HSM, and answers 429 above. A short while is waited for here.

Source: learn.microsoft.com, "Azure Key Vault service limits", "Azure Key Vault throttling guidance", and REST reference
of sign (ES256: a digest of SHA-256 in, r and s as 64 bytes out).
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from imagedelta.bundles.keys import ES256, PublicKey
from imagedelta.bundles.seal import is_signature
from imagedelta.errors import DependencyError
from services.identity import Identity

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyVaultKey
    from azure.keyvault.keys.crypto import CryptographyClient

T = TypeVar("T")
log = logging.getLogger(__name__)

_BOUNDS: Mapping[str, Any] = {"connection_timeout": 5, "read_timeout": 15, "retry_total": 0, "logging_enable": False}
"""Of one request. The library's own repeats would sleep for as long as an answer asks for: an hour, if it says so."""
_WAITS = (1.0, 2.0, 4.0)
"""Seconds before it is asked again, as the guidance has it; a longer wait that it asks for is left to the caller."""
_BUSY = (429, 500, 502, 503, 504)
_COORDINATE = 32


class KeyVaultSealer:
    """Many threads may seal."""

    alg = ES256

    def __init__(self, key: str, identity: Identity, sleep: Callable[[float], None] = time.sleep) -> None:
        """Args:
        key: ``https://VAULT/keys/NAME/VERSION``; nothing is asked of it yet.
        """
        self._key = key
        self._identity = identity
        self._sleep = sleep
        self._reading = threading.Lock()

    @property
    def key_id(self) -> str:
        """Raises: DependencyError ``dependency.vault``."""
        return self.public_key.key_id

    @property
    def public_key(self) -> PublicKey:
        """Raises: DependencyError ``dependency.vault``."""
        with self._reading:
            return self._opened[1]

    def sign(self, message: bytes) -> bytes:
        """Raises: DependencyError ``dependency.vault``."""
        from azure.keyvault.keys.crypto import SignatureAlgorithm

        with self._reading:
            client, public = self._opened
        digest = hashlib.sha256(message).digest()
        signature: bytes = self._ask(lambda: client.sign(SignatureAlgorithm.es256, digest).signature)
        if not is_signature(public, signature, message):
            raise self._failure("what it signed does not fit the key's public half")
        return signature

    @cached_property
    def _opened(self) -> tuple[CryptographyClient, PublicKey]:
        """Imported here: whoever seals by a file needs none of it."""
        from azure.keyvault.keys import KeyClient
        from azure.keyvault.keys.crypto import CryptographyClient

        vault, _, path = self._key.partition("/keys/")
        name, _, version = path.partition("/")
        with KeyClient(vault, self._identity.credential, **_BOUNDS) as client:
            key = self._ask(lambda: client.get_key(name, version))
        return CryptographyClient(key, self._identity.credential, **_BOUNDS), self._public_half(key)

    def _public_half(self, key: KeyVaultKey) -> PublicKey:
        found = key.key
        kind, curve, x, y = (getattr(found, name, None) for name in ("kty", "crv", "x", "y"))
        if str(getattr(kind, "value", kind)) not in ("EC", "EC-HSM") or str(getattr(curve, "value", curve)) != "P-256":
            raise self._failure(
                "it is no key of the curve P-256: make one by az keyvault key create --kty EC --curve P-256"
            )
        return PublicKey(
            ES256, b"\x04" + bytes(x or b"").rjust(_COORDINATE, b"\0") + bytes(y or b"").rjust(_COORDINATE, b"\0")
        )

    def _ask(self, question: Callable[[], T]) -> T:
        for wait in (*_WAITS, None):
            try:
                return question()
            except Exception as error:  # the library fails in ways of its own for odd answers
                after = _busy_for(error)
                if wait is None or after is None or after > max(_WAITS):
                    raise self._failure(_why(error), after) from error
                log.info("%s is busy, asking again", self._key)
                self._sleep(max(wait, after))
        raise AssertionError("the last try answers or raises")

    def _failure(self, why: str, after: float | None = None) -> DependencyError:
        wait = timedelta(seconds=after) if after else None
        return DependencyError(f"key {self._key}: {why}", code="dependency.vault", retry_after=wait)


def _busy_for(error: Exception) -> float | None:
    """Seconds that it asks to be left alone, 0 where it does not say; None when asking again soon is of no use."""
    response = getattr(error, "response", None)
    if getattr(error, "status_code", None) not in _BUSY or response is None:
        return None
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _why(error: Exception) -> str:
    """What the vault says of it, and no more than a line: it never holds a token."""
    status = getattr(error, "status_code", None)
    code = getattr(getattr(error, "error", None), "code", None)
    if status is not None:
        return f"the vault answered {status}{f' ({code})' if code else ''}"
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
