"""What azd deploys runs on what requirements.txt brings alone: a clean environment, and Microsoft's worker.

The packages are wheels, as Azure's own build takes them.
"""

from __future__ import annotations

import ast
import json
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cloud import odbc_driver
from tests.package import pack
from tests.worker.azure_worker import AzureWorker, clean_environment

pytestmark = pytest.mark.e2e

SETTINGS = {
    "WEBSITE_INSTANCE_ID": "1",
    "AZURE_CLIENT_ID": "44444444-4444-4444-4444-444444444444",
    "IMAGEDELTA_DATABASE_URL": "mssql+pyodbc://sql-x.database.windows.net/imagedelta",
    "IMAGEDELTA_STORAGE": "https://stix.blob.core.windows.net",
    "IMAGEDELTA_SEAL_KEYS": "https://kv-x.vault.azure.net/keys/seal/" + "0" * 32,
    "IMAGEDELTA_HUBS": "main",
    "IMAGEDELTA_HUB_MAIN_SERVICE": "x.azure-devices.net",
    "IMAGEDELTA_HUB_MAIN_EVENTS": "Endpoint=sb://x/;SharedAccessKeyName=e;SharedAccessKey=a2V5;EntityPath=x",
    "IMAGEDELTA_HUB_MAIN_CONSUMER_GROUP": "imagedelta",
    "IMAGEDELTA_REGISTRIES": "main",
    "IMAGEDELTA_REGISTRY_MAIN_HOST": "crx.azurecr.io",
}
"""As infra/main.bicep sets them; tests/infra holds those against the app's own loader."""

FIND = """
import importlib.util, json, sys
lost = []
for name in json.load(sys.stdin):
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None:
        lost.append(name)
print(json.dumps(lost))
"""
NOT_DEPLOYED = {
    "_typeshed",  # of type checkers alone
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",  # the extra otlp: its protobuf must suit the worker's
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "setuptools",  # of native/, while pip builds it
}
ON_X86 = ("azure.iot.hub", "msrest")
"""Elsewhere hubs are asked over REST (requirements.txt says why)."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("package") / "app")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Path:
    """Of an environment that the package's own list has filled, from within it: paths in it are the package's."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-compile",
        "--only-binary",
        ":all:",
    ]
    done = subprocess.run(
        [*install, "--disable-pip-version-check", "--requirement", "requirements.txt"],
        cwd=package,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return python


def imported(package: Path) -> Iterator[str]:
    """Modules that the package asks for anywhere, in functions, too, and has not itself."""
    own = {each.stem for each in package.iterdir()}
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            yield from (name for name in names if name.split(".")[0] not in own)


def without_ours() -> dict[str, str]:
    return {
        name: value for name, value in clean_environment().items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }


def test_the_package_finds_all_that_it_imports(python: Path, package: Path) -> None:
    names = sorted(set(imported(package)))

    done = subprocess.run(
        [python, "-c", FIND], input=json.dumps(names), env=without_ours(), capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    lost = set(json.loads(done.stdout))
    if platform.machine() != "x86_64":
        lost = {name for name in lost if not name.startswith(ON_X86)}
    assert lost == NOT_DEPLOYED
    assert {"azure.storage.blob", "azure.keyvault.keys", "pyodbc", "sqlalchemy"} <= set(names)


def test_the_worker_indexes_the_package(python: Path, package: Path, tmp_path: Path) -> None:
    odbc_driver.register(tmp_path)  # Azure's image has it
    worker = AzureWorker(package, python=python, **SETTINGS)
    worker.stop()

    assert "hub_events_main" in worker.functions
    assert len(worker.functions) > 40


def test_a_package_that_was_not_installed_would_be_noticed(python: Path) -> None:
    done = subprocess.run(
        [python, "-c", FIND], input='["json", "pytest", "azure.nothing"]', capture_output=True, text=True, timeout=60
    )

    assert json.loads(done.stdout) == ["pytest", "azure.nothing"]
