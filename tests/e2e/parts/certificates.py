"""Certificates made in the test: an authority, and servers at addresses of this machine that it vouches for."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


_AUTHORITY = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=True,
    key_encipherment=False,
    key_agreement=False,
    content_commitment=False,
    data_encipherment=False,
    encipher_only=False,
    decipher_only=False,
)
"""With this and identifiers of keys Python 3.13 believes it, whose default is the strict reading of RFC 5280."""


class Authority:
    """Signs for whoever asks; ``pem`` is what a client has to know of it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of the tests")])
        self._certificate = (
            _builder(self._name, self._key.public_key(), datetime.now(UTC) - _DAY)
            .issuer_name(self._name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_AUTHORITY, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_names("127.0.0.1"), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write(self, folder: Path) -> Path:
        """A file for clients that are told by ``SSL_CERT_FILE`` or ``REQUESTS_CA_BUNDLE`` whom to trust."""
        path = folder / "authority.pem"
        path.write_text(self.pem)
        return path

    def context(self) -> ssl.SSLContext:
        """For a client that trusts nobody else."""
        return ssl.create_default_context(cadata=self.pem)

    def issue(self, folder: Path, address: str, valid_from: datetime | None = None) -> tuple[Path, Path]:
        """Certificate and key of a server, as files.

        Args:
            valid_from: A day ago unless given; a clock that is far behind finds it ahead.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        certificate = (
            _builder(name, key.public_key(), valid_from or datetime.now(UTC) - _DAY)
            .issuer_name(self._name)
            .add_extension(_names(address), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _written(folder, certificate, key)

    def itself(self, folder: Path) -> tuple[Path, Path]:
        """Its own certificate and key, for a server at 127.0.0.1 that must have a self-signed one."""
        return _written(folder, self._certificate, self._key)


def _names(address: str) -> x509.SubjectAlternativeName:
    """Of an address of the network, or a name."""
    try:
        return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    except ValueError:
        return x509.SubjectAlternativeName([x509.DNSName(address)])


def _written(folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def _builder(name: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + 30 * _DAY)
    )
