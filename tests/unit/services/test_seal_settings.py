from __future__ import annotations

from pathlib import Path

import pytest

from imagedelta.bundles.keys import generate_private_key, private_key_pem, public_key_of, write_key_pair
from services.factory import make_deps
from services.seals.settings import SealSettings, read_seal_settings
from services.setting_values import Values
from services.settings import load_settings

VAULT = "https://v.vault.azure.net/keys/seal/0123456789abcdef0123456789abcdef"


def read(**env: str) -> tuple[SealSettings, list[str]]:
    values = Values(env)
    return read_seal_settings(values), values.problems


@pytest.mark.parametrize("between", [":", ","])
def test_files_and_keys_of_a_vault_stand_in_one_list(tmp_path: Path, between: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_key_pair(one)
    write_key_pair(two)
    local = VAULT.replace("v.vault.azure.net", "127.0.0.1:8443")

    found, problems = read(IMAGEDELTA_SEAL_KEYS=between.join([str(one), VAULT, local, str(two)]))

    assert (found.keys, problems) == ((one, VAULT, local, two), [])


def test_private_keys_come_as_text_from_a_secret_and_are_never_shown(tmp_path: Path) -> None:
    first, second = generate_private_key(), generate_private_key()
    pems = [private_key_pem(key).decode() for key in (first, second)]
    text = pems[0] + pems[1].replace("\n", "\\n")
    environment = {"LOCAL_BLOBS_DIR": str(tmp_path / "blobs"), "IMAGEDELTA_SEAL_KEY_PEM": text}

    settings = load_settings(environment)

    assert list(make_deps(settings).sealers) == [public_key_of(first).key_id, public_key_of(second).key_id]
    assert "PRIVATE KEY" not in repr(settings)


@pytest.mark.parametrize("damage", ["A", "é", "\x00"])
def test_what_is_wrong_with_a_key_is_told_without_it(damage: str) -> None:
    pem = private_key_pem(generate_private_key()).decode()
    secret = pem.splitlines()[1]

    _, problems = read(IMAGEDELTA_SEAL_KEY_PEM=pem.replace(secret, damage + secret[1:-4]))

    assert [problem.partition(" ")[0] for problem in problems] == ["IMAGEDELTA_SEAL_KEY_PEM"]
    assert secret[1:20] not in problems[0]


@pytest.mark.parametrize(
    "name",
    [
        "IMAGEDELTA_SEAL_KEY_PEM",
        "IMAGEDELTA_SMTP_PASSWORD",
        "IMAGEDELTA_DATABASE_URL",
        "IMAGEDELTA_STORAGE",
        "IMAGEDELTA_HUB_NORTH_SERVICE",
        "IMAGEDELTA_HUB_NORTH_EVENTS",
        "AzureWebJobsStorage",
    ],
)
def test_a_reference_that_the_platform_did_not_resolve_is_told_at_start(name: str) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/x)"
    values = Values({"IMAGEDELTA_HUBS": "north", name: reference})

    with pytest.raises(Exception, match=f"{name} is a reference to Key Vault that was not resolved") as caught:
        values.refuse()

    assert "Key Vault Secrets User" in str(caught.value)
