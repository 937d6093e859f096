import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from imagedelta.bundles import PublicKey, public_key_from_text, seal, verify_seal
from imagedelta.bundles.seal import SEAL_BYTES
from imagedelta.errors import SealError, UnsupportedFormat
from tests.unit.bundles.bundles import SEALER, TRUSTED


class VaultSealer:
    """Stands for a P-256 key inside Key Vault, which signs as r || s."""

    alg = "ES256"

    def __init__(self, private: EllipticCurvePrivateKey) -> None:
        raw = private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self._private = private
        self.public_key = PublicKey("ES256", raw)
        self.key_id = self.public_key.key_id

    def sign(self, message: bytes) -> bytes:
        r, s = decode_dss_signature(self._private.sign(message, ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_a_seal_names_its_key_and_holds_for_its_content():
    assert verify_seal(b"content", seal(b"content", SEALER), TRUSTED) == SEALER.key_id


def test_a_key_id_is_the_start_of_the_digest_of_the_raw_public_key():
    assert SEALER.key_id == hashlib.sha256(SEALER.public_key.raw).hexdigest()[:16]


def test_a_seal_made_inside_key_vault_holds_too():
    vault = VaultSealer(generate_private_key(SECP256R1()))
    trusted = {vault.key_id: public_key_from_text(vault.public_key.to_text())}

    assert verify_seal(b"content", seal(b"content", vault), trusted) == vault.key_id


def test_the_seal_of_other_content_is_invalid():
    with pytest.raises(SealError) as refusal:
        verify_seal(b"content!", seal(b"content", SEALER), TRUSTED)

    assert refusal.value.code == "seal.invalid"


@pytest.mark.parametrize("position", range(SEAL_BYTES))
def test_a_seal_changed_at_any_byte_is_refused(position):
    damaged = bytearray(seal(b"content", SEALER))
    damaged[position] ^= 1

    with pytest.raises(SealError) as refusal:
        verify_seal(b"content", bytes(damaged), TRUSTED)

    in_key_id = 1 <= position < 9
    assert refusal.value.code == ("seal.unknown_key" if in_key_id else "seal.invalid")


def test_no_seal_and_a_key_nobody_trusts_have_codes_of_their_own():
    with pytest.raises(SealError) as missing:
        verify_seal(b"content", b"", TRUSTED)
    with pytest.raises(SealError) as unknown:
        verify_seal(b"content", seal(b"content", SEALER), {})

    assert (missing.value.code, unknown.value.code) == ("seal.missing", "seal.unknown_key")


def test_a_seal_of_another_length_is_invalid():
    with pytest.raises(SealError) as refusal:
        verify_seal(b"content", seal(b"content", SEALER) + b"\0", TRUSTED)

    assert refusal.value.code == "seal.invalid"


def test_an_algorithm_without_a_number_cannot_seal():
    class Other:
        alg = "RS256"
        key_id = "00" * 8

        def sign(self, message: bytes) -> bytes:
            return bytes(64)

    with pytest.raises(UnsupportedFormat):
        seal(b"content", Other())
