"""Key pairs that seal bundles: Ed25519, the private half as a PEM file, the public half as one line of text.

A key is named by its id, the first 16 hex digits of SHA-256 over the raw public key, so that cloud and device
agree on which keys overlap during a rotation. Not here: what is sealed (imagedelta.bundles.seal).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from imagedelta.errors import RequestError
from imagedelta.whole_files import whole_file

ED25519 = "Ed25519"
ES256 = "ES256"
_RAW_BYTES = {ED25519: 32, ES256: 65}
"""Ed25519: RFC 8032 encoding; ES256: the uncompressed P-256 point (SEC 1, 2.3.3)."""
_MAX_KEY_FILE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What a device needs to check seals."""

    alg: str
    raw: bytes

    @property
    def key_id(self) -> str:
        """First 16 hex digits of SHA-256 over the raw key."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def to_text(self) -> str:
        """One line, e.g. ``Ed25519:3q2-7w…``; ``public_key_from_text`` reads it."""
        return f"{self.alg}:{base64.urlsafe_b64encode(self.raw).decode().rstrip('=')}"


def public_key_from_text(text: str) -> PublicKey:
    """Read the line ``to_text`` wrote.

    Raises:
        RequestError: "keys.invalid": unknown algorithm, bad base64, wrong length, not a point of the curve.
    """
    alg, _, encoded = text.strip().partition(":")
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        if len(raw) != _RAW_BYTES.get(alg):
            raise ValueError("unknown algorithm or wrong length")
        _check_point(alg, raw)
    except (ValueError, binascii.Error) as error:
        raise RequestError(f"public key {text.strip()[:60]!r}: {error}", code="keys.invalid") from error
    return PublicKey(alg, raw)


def trusted_keys(lines: Iterable[str]) -> dict[str, PublicKey]:
    """Return ``{key id: key}`` of the lines; empty lines and lines that start with ``#`` are skipped."""
    keys = [public_key_from_text(line) for line in lines if line.strip() and not line.startswith("#")]
    return {key.key_id: key for key in keys}


def generate_private_key() -> Ed25519PrivateKey:
    """Return a new private key from the system's randomness."""
    return Ed25519PrivateKey.generate()


def public_key_of(private: Ed25519PrivateKey) -> PublicKey:
    """Return the public half."""
    return PublicKey(ED25519, private.public_key().public_bytes_raw())


def private_key_pem(private: Ed25519PrivateKey) -> bytes:
    """Return the unencrypted PKCS#8 PEM: what a key file or a Key Vault secret holds."""
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_key_from_pem(pem: bytes) -> Ed25519PrivateKey:
    """Read what ``private_key_pem`` wrote.

    Raises:
        RequestError: "keys.invalid": no PEM, encrypted, or a key of another kind.
    """
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RequestError("private key: not an unencrypted PEM file", code="keys.invalid") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise RequestError("private key: not an Ed25519 key", code="keys.invalid")
    return private


def write_key_pair(path: Path) -> PublicKey:
    """Make a key pair: ``path`` (mode 0600) and ``path`` + ``.pub``, both flushed to disk.

    Raises:
        RequestError: "keys.exists": one of the files is there; a key that seals bundles is never overwritten.
    """
    private = generate_private_key()
    public = public_key_of(private)
    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        raise RequestError(f"{public_path} exists", code="keys.exists")
    _write_new(path, private_key_pem(private), 0o600)
    try:
        _write_new(public_path, (public.to_text() + "\n").encode(), 0o644)
    except BaseException:
        path.unlink()  # half a pair is of no use, and would stand in the way of the next try
        raise
    return public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key file.

    Raises:
        RequestError: "keys.invalid": it cannot be read, is too large, or holds no Ed25519 key.
    """
    return private_key_from_pem(_read_small(path))


def read_public_pem(path: Path) -> PublicKey:
    """Read a public key as other programs write it: SubjectPublicKeyInfo in PEM, of Ed25519 or P-256.

    Raises:
        RequestError: "keys.invalid": it cannot be read, or holds another kind of key.
    """
    try:
        public = serialization.load_pem_public_key(_read_small(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestError(f"{path} is no public key in PEM", code="keys.invalid") from error
    if isinstance(public, Ed25519PublicKey):
        return PublicKey(ED25519, public.public_bytes_raw())
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        point = serialization.PublicFormat.UncompressedPoint
        return PublicKey(ES256, public.public_bytes(serialization.Encoding.X962, point))
    raise RequestError(f"{path} holds a public key that is neither Ed25519 nor of P-256", code="keys.invalid")


def read_trusted_keys(path: Path) -> dict[str, PublicKey]:
    """Read a file of public key lines (a ``.pub`` file, or several of them joined)."""
    try:
        return trusted_keys(_read_small(path).decode().splitlines())
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not a text of public keys", code="keys.invalid") from error


def _read_small(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise RequestError(f"key file {path}: {error.strerror}", code="keys.invalid") from error
    if len(data) > _MAX_KEY_FILE_BYTES:
        raise RequestError(f"key file {path} is over {_MAX_KEY_FILE_BYTES} bytes", code="keys.invalid")
    return data


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        with whole_file(path, mode=mode, replace=False) as stream:
            stream.write(data)
    except FileExistsError as error:
        raise RequestError(f"{path} exists", code="keys.exists") from error


def _check_point(alg: str, raw: bytes) -> None:
    if alg == ED25519:
        Ed25519PublicKey.from_public_bytes(raw)
    else:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
