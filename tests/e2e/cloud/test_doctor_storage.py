"""`imagedelta doctor` says of the storage what the app would meet there."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.parts.azurite import ACCOUNT, Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.storage_identity import storage_token
from tests.simulators.managed_identity import managed_identity

pytestmark = pytest.mark.e2e
CHECK = "storage IMAGEDELTA_STORAGE"


def found(folder: Path, authority: Authority, storage: str, **environment: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "imagedelta_cli.main", "doctor", "--app", str(folder), "--json"],
        env={**os.environ, "IMAGEDELTA_STORAGE": storage, "REQUESTS_CA_BUNDLE": str(authority.write(folder))}
        | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    checks = {each["check"]: each for each in json.loads(ran.stdout)["checks"]}
    return dict(checks[CHECK])


def test_a_key_that_fits_can_write_and_read_and_leaves_nothing(
    azurite: Azurite, authority: Authority, tmp_path: Path
) -> None:
    check = found(tmp_path, authority, azurite.connection_string)

    assert (check["state"], "by its key" in check["found"]) == ("ok", True)
    scratch = azurite.service.get_container_client("scratch")
    assert [name for name in scratch.list_blob_names() if name.startswith("doctor")] == []


def test_a_wrong_key_is_told_with_what_to_do(azurite: Azurite, authority: Authority, tmp_path: Path) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    check = found(tmp_path, authority, f"AccountName={ACCOUNT};AccountKey={wrong};BlobEndpoint={azurite.url}")

    assert check["state"] == "failed"
    assert "Storage Blob Data Contributor" in check["remedy"], check


@pytest.mark.parametrize("lets_in", [True, False])
def test_an_identity_is_tried_with_all_that_the_app_does(
    azurite: Azurite, authority: Authority, tmp_path: Path, lets_in: bool
) -> None:
    with managed_identity() as identity:
        if lets_in:
            identity.tokens["https://storage.azure.com"] = storage_token()
        check = found(tmp_path, authority, azurite.url, **identity.environment)

    if lets_in:
        assert (check["state"], "user-delegation" in check["found"]) == ("ok", True)
    else:
        assert (check["state"], "Storage Blob Data Contributor" in check["remedy"]) == ("failed", True)
