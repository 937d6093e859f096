"""The settings that docs/azure.md has people begin with: Microsoft's worker answers with them, over Azurite."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from imagedelta.bundles.keys import write_key_pair
from tests.e2e.parts.azurite import Azurite
from tests.worker.azure_worker import ROOT, AzureWorker, clean_environment
from tests.worker.functions_host import Call, call_worker

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def settings(azurite: Azurite, trust: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The sample's, but for Azurite's port, and for the two files that it would make in the project's folder."""
    values: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text("utf-8"))["Values"]
    assert values["IMAGEDELTA_STORAGE"] == values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    folder = tmp_path_factory.mktemp("state")
    write_key_pair(folder / "seal.key")
    own = {
        "IMAGEDELTA_STORAGE": azurite.connection_string,
        "IMAGEDELTA_DATABASE_URL": f"sqlite:///{folder}/imagedelta.db",
        "IMAGEDELTA_SEAL_KEYS": str(folder / "seal.key"),
    }
    return {**values, **own, **trust}


@pytest.fixture(scope="module")
def worker(settings: dict[str, str]) -> Iterator[AzureWorker]:
    command = [sys.executable, "-m", "imagedelta_cli.main", "db", "upgrade"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(**settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    worker = AzureWorker(ROOT, **settings)
    yield worker
    worker.stop()


def test_the_app_is_well_with_the_sample_settings_once_the_database_is_made(worker: AzureWorker) -> None:
    call = Call("api_health", "GET", "/api/health")

    answer = call_worker(worker, call, httpx.Request("GET", "http://localhost:7071/api/health"), "")

    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["checks"] == {"database": "ok", "blobs": "ok"}


def test_nothing_of_the_sample_is_a_secret(settings: dict[str, str]) -> None:
    """It is in the repository: what looks like a key says that it is none."""
    sample = (ROOT / "local.settings.sample.json").read_text("utf-8")

    assert "bm90LWEtc2VjcmV0" in sample  # "not-a-secret" in base64
    assert Path(ROOT / ".gitignore").read_text("utf-8").count("/local.settings.json") == 1
