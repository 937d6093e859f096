import os
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagedelta.bundles import FileSealer, public_key_from_text, read_trusted_keys, trusted_keys, write_key_pair
from imagedelta.bundles.keys import read_public_pem
from imagedelta.errors import RequestError


def test_the_private_file_is_readable_by_its_owner_alone(tmp_path):
    write_key_pair(tmp_path / "seal.pem")

    assert stat.S_IMODE((tmp_path / "seal.pem").stat().st_mode) == 0o600


def test_both_files_are_of_one_key(tmp_path):
    public = write_key_pair(tmp_path / "seal.pem")

    assert read_trusted_keys(tmp_path / "seal.pem.pub") == {public.key_id: public}
    assert FileSealer(tmp_path / "seal.pem").key_id == public.key_id


@pytest.mark.parametrize("existing", ["seal.pem", "seal.pem.pub"])
def test_a_key_that_exists_is_never_overwritten(tmp_path, existing):
    (tmp_path / existing).write_text("precious")

    with pytest.raises(RequestError) as refusal:
        write_key_pair(tmp_path / "seal.pem")

    assert refusal.value.code == "keys.exists"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {existing: "precious"}


@pytest.mark.parametrize("make", [lambda: generate_private_key(SECP256R1()), Ed25519PrivateKey.generate])
def test_a_public_key_that_another_program_wrote_is_the_same_key(tmp_path, make):
    public = make().public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "vault.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, spki))

    found = read_public_pem(tmp_path / "vault.pem")

    assert public_key_from_text(found.to_text()) == found
    assert found.raw[-8:] == public.public_bytes(serialization.Encoding.DER, spki)[-8:]


@pytest.mark.parametrize(
    "content", [b"", b"Ed25519:abc", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key_in_pem_is_refused(tmp_path, content):
    (tmp_path / "odd.pem").write_bytes(content)

    with pytest.raises(RequestError) as refusal:
        read_public_pem(tmp_path / "odd.pem")

    assert refusal.value.code == "keys.invalid"


def test_a_public_key_of_another_curve_is_refused(tmp_path):
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public = generate_private_key(SECP384R1()).public_key()
    (tmp_path / "odd.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, spki))

    with pytest.raises(RequestError, match="P-256"):
        read_public_pem(tmp_path / "odd.pem")


def test_several_public_keys_may_stand_in_one_file_with_comments(tmp_path):
    old, new = write_key_pair(tmp_path / "old"), write_key_pair(tmp_path / "new")

    lines = ["# rotated in spring", old.to_text(), "", new.to_text()]

    assert set(trusted_keys(lines)) == {old.key_id, new.key_id}


@pytest.mark.parametrize(
    "text", ["", "Ed25519:", "Ed25519:AAAA", "RSA:" + "A" * 43, "Ed25519:" + "?" * 43, "ES256:" + "A" * 87]
)
def test_a_text_that_is_no_public_key_is_refused(text):
    with pytest.raises(RequestError) as refusal:
        public_key_from_text(text)

    assert refusal.value.code == "keys.invalid"


def test_a_private_key_of_another_kind_is_refused(tmp_path):
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "ec.pem").write_bytes(pem)

    with pytest.raises(RequestError) as refusal:
        FileSealer(tmp_path / "ec.pem")

    assert refusal.value.code == "keys.invalid"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"x" * 20_000])
def test_a_file_that_is_no_private_key_is_refused(tmp_path, content):
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(RequestError) as refusal:
        FileSealer(tmp_path / "key")

    assert refusal.value.code == "keys.invalid"


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_half_a_key_pair_is_never_left(tmp_path, monkeypatch, failing):
    real = os.fsync
    calls = []

    def full_disk(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(OSError, match="No space"):
        write_key_pair(tmp_path / "key")

    assert list(tmp_path.iterdir()) == []
    assert write_key_pair(tmp_path / "key").key_id
