"""Seals: who vouches for a bundle. 73 bytes that bind a key to the exact bytes of ``bundle.json``.

Layout: algorithm (1 byte: 1 Ed25519, 2 ES256), key id (8 bytes), signature (64 bytes; ES256 as r || s).
The signed message is ``CONTEXT``, the first 9 bytes of the seal, and the content, so that a seal of one
algorithm, key or kind of document cannot be passed off as another's.

Source: docs/formats/bundle.md, section 4; RFC 8032 (Ed25519); RFC 7518, 3.4 (ES256).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from imagedelta.bundles.keys import ED25519, ES256, PublicKey, public_key_of, read_private_key
from imagedelta.errors import SealError, UnsupportedFormat

SEAL_BYTES = 73
CONTEXT = b"imagedelta bundle seal 1\0"
_ALG_BYTE = {ED25519: 1, ES256: 2}
_SIGNATURE_BYTES = 64


class Sealer(Protocol):
    """Whatever has a private key: a file, a Key Vault secret, a Key Vault key that never leaves it."""

    @property
    def alg(self) -> str:
        """``Ed25519`` or ``ES256``."""
        ...

    @property
    def key_id(self) -> str:
        """16 hex digits; see ``PublicKey.key_id``."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over ``message``."""
        ...


class Ed25519Sealer:
    """Seals with a private key in memory."""

    alg = ED25519

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key = public_key_of(private)
        self.key_id = self.public_key.key_id

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


class FileSealer(Ed25519Sealer):
    """Seals with a private key file that ``imagedelta keys new`` made."""

    def __init__(self, path: Path) -> None:
        super().__init__(read_private_key(path))


def seal(content: bytes, sealer: Sealer) -> bytes:
    """Return the 73-byte seal of ``content``.

    Raises:
        UnsupportedFormat: The sealer's algorithm has no number in the format.
    """
    if sealer.alg not in _ALG_BYTE:
        raise UnsupportedFormat(f"seal algorithm {sealer.alg!r}")
    prefix = bytes([_ALG_BYTE[sealer.alg]]) + bytes.fromhex(sealer.key_id)
    return prefix + sealer.sign(CONTEXT + prefix + content)


def seal_key_id(seal_bytes: bytes) -> str | None:
    """Return the key id a seal names, ``None`` for an unsealed bundle (an empty seal).

    Raises:
        SealError: It has any other length.
    """
    if not seal_bytes:
        return None
    _require_length(seal_bytes)
    return seal_bytes[1:9].hex()


def verify_seal(content: bytes, seal_bytes: bytes, trusted: Mapping[str, PublicKey]) -> str:
    """Return the id of the trusted key that sealed ``content``.

    Raises:
        SealError: "seal.missing" (empty), "seal.unknown_key" (not among ``trusted``) or "seal.invalid"
            (wrong length, algorithm or signature).
    """
    if not seal_bytes:
        raise SealError("the bundle is not sealed", code="seal.missing")
    _require_length(seal_bytes)
    key_id = seal_bytes[1:9].hex()
    key = trusted.get(key_id)
    if key is None:
        raise SealError(f"sealed by key {key_id}, which is not trusted here", code="seal.unknown_key")
    if seal_bytes[0] != _ALG_BYTE[key.alg]:
        raise SealError(f"key {key_id} is of another algorithm than the seal says")
    _verify_signature(key, seal_bytes[9:], CONTEXT + seal_bytes[:9] + content)
    return key_id


def is_signature(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is one of ``key`` over ``message``."""
    try:
        _verify_signature(key, signature, message)
    except SealError:
        return False
    return len(signature) == _SIGNATURE_BYTES


def _require_length(seal_bytes: bytes) -> None:
    if len(seal_bytes) != SEAL_BYTES:
        raise SealError(f"a seal of {len(seal_bytes)} bytes instead of {SEAL_BYTES}")


def _verify_signature(key: PublicKey, signature: bytes, message: bytes) -> None:
    try:
        if key.alg == ED25519:
            Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, message)
        else:
            point = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key.raw)
            point.verify(_der(signature), message, ECDSA(SHA256()))
    except InvalidSignature as error:
        raise SealError(f"the seal of key {key.key_id} does not fit the content") from error


def _der(signature: bytes) -> bytes:
    half = _SIGNATURE_BYTES // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
