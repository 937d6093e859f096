"""Seals by a key in Key Vault: Microsoft's own library against a vault that answers as documented and really signs."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from imagedelta.bundles import seal, verify_seal
from imagedelta.errors import DependencyError
from services.identity import Identity
from services.seals.keyvault import KeyVaultSealer
from services.seals.sealers import Sealers
from tests.simulators.key_vault import KEY, VERSION, KeyVault, busy, key_vault, refusal
from tests.simulators.managed_identity import managed_identity
from tests.unit.bundles.bundles import SEALER

READ, SIGN = f"GET /keys/bundles/{VERSION}", f"POST /keys/bundles/{VERSION}/sign"


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    with managed_identity() as of, key_vault(tmp_path) as vault:
        for name, value in of.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
        yield vault


class Naps:
    def __init__(self) -> None:
        self.taken: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def sealer(vault: KeyVault, naps: Naps) -> KeyVaultSealer:
    return KeyVaultSealer(KEY, Identity(), naps)


def test_a_device_that_has_the_public_half_believes_the_seal(vault: KeyVault, sealer: KeyVaultSealer) -> None:
    trusted = {vault.public_key.key_id: vault.public_key}

    assert verify_seal(b"content", seal(b"content", sealer), trusted) == sealer.key_id


def test_a_key_is_read_once_and_each_seal_is_one_signature(vault: KeyVault, sealer: KeyVaultSealer) -> None:
    with ThreadPoolExecutor(4) as threads:
        seals = list(threads.map(lambda n: seal(b"%d" % n, sealer), range(20)))

    assert len(set(seals)) == 20
    assert vault.asked == [READ, *[SIGN] * 20]


@pytest.mark.parametrize("status", [429, 503])
def test_a_vault_that_is_busy_is_waited_for_as_long_as_it_says(
    vault: KeyVault, sealer: KeyVaultSealer, naps: Naps, status: int
) -> None:
    assert sealer.key_id
    vault.failures += [busy(status, Retry_After="3"), busy(status), busy(status)]

    assert sealer.sign(b"content")
    assert naps.taken == [3.0, 2.0, 4.0]


def test_a_vault_that_stays_busy_is_left_alone_and_so_is_one_that_says_for_long(
    vault: KeyVault, sealer: KeyVaultSealer, naps: Naps
) -> None:
    assert sealer.key_id
    vault.failures += [busy()] * 4
    with pytest.raises(DependencyError, match="429"):
        sealer.sign(b"content")
    vault.failures += [busy(Retry_After="3600")]
    with pytest.raises(DependencyError) as caught:
        sealer.sign(b"content")

    assert (caught.value.code, caught.value.retry_after) == ("dependency.vault", timedelta(hours=1))
    assert naps.taken == [1.0, 2.0, 4.0]
    assert sealer.sign(b"content")


@pytest.mark.parametrize("code", ["Forbidden", "KeyNotFound", "BadParameter"])
def test_what_the_vault_refuses_waits_for_who_puts_it_right(vault: KeyVault, naps: Naps, code: str) -> None:
    sealer = KeyVaultSealer(KEY, Identity(), naps)
    vault.failures.append(refusal({"Forbidden": 403, "KeyNotFound": 404, "BadParameter": 400}[code], code))

    with pytest.raises(DependencyError, match=code) as caught:
        assert sealer.key_id

    assert (caught.value.code, naps.taken, caught.value.retryable) == ("dependency.vault", [], True)
    assert sealer.key_id == vault.public_key.key_id


def test_a_token_that_the_vault_does_not_take_is_asked_for_again_and_then_told(vault: KeyVault, naps: Naps) -> None:
    vault.token = "another"

    with pytest.raises(DependencyError, match="401") as caught:
        assert KeyVaultSealer(KEY, Identity(), naps).key_id

    assert "token-of" not in str(caught.value)


def test_without_an_identity_it_says_so(vault: KeyVault, naps: Naps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/")

    with pytest.raises(DependencyError) as caught:
        assert KeyVaultSealer(KEY, Identity(), naps).key_id

    assert caught.value.code == "dependency.vault"


def test_a_vault_that_does_not_answer_ends_at_once(naps: Naps) -> None:
    sealer = KeyVaultSealer(f"https://127.0.0.1:9/keys/bundles/{VERSION}", Identity(), naps)

    with pytest.raises(DependencyError) as caught:
        assert sealer.key_id

    assert caught.value.code == "dependency.vault"


def test_a_signature_that_does_not_fit_is_never_published(vault: KeyVault, sealer: KeyVaultSealer) -> None:
    vault.signs_wrongly = True

    with pytest.raises(DependencyError, match="does not fit"):
        sealer.sign(b"content")


@pytest.mark.parametrize("curve", ["P-384", "P-256K"])
def test_a_key_of_another_curve_cannot_seal(vault: KeyVault, sealer: KeyVaultSealer, curve: str) -> None:
    vault.curve = curve

    with pytest.raises(DependencyError, match="P-256"):
        assert sealer.key_id


def test_coordinates_that_begin_with_zeros_keep_their_length(vault: KeyVault, naps: Naps) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key

    number = next(
        n for n in range(1, 5000) if derive_private_key(n, SECP256R1()).public_key().public_numbers().x >> 248 == 0
    )
    vault.private = derive_private_key(number, SECP256R1())

    assert KeyVaultSealer(KEY, Identity(), naps).public_key == vault.public_key


def test_keys_in_a_vault_are_asked_for_when_somebody_seals_and_again_after_an_outage(
    vault: KeyVault, sealer: KeyVaultSealer
) -> None:
    sealers = Sealers([SEALER, sealer])
    assert vault.asked == []
    vault.failures += [refusal(403, "Forbidden")]

    with pytest.raises(DependencyError):
        list(sealers)

    assert list(sealers.items()) == [(SEALER.key_id, SEALER), (vault.public_key.key_id, sealer)]


def test_neither_token_nor_content_is_logged(
    vault: KeyVault, sealer: KeyVaultSealer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    sealer.sign(b"a secret content")

    assert "token-of" not in caplog.text.replace("token-of-https://vault.azure.net/.default", "")
    assert "a secret content" not in caplog.text


def test_an_app_that_seals_by_a_file_loads_none_of_it() -> None:
    script = "import sys, services.factory; print([name for name in sys.modules if 'keyvault.keys' in name])"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"
