"""Who may import whom: the table of docs/adr/0001, held by reading every import statement, also inside functions.

Rooms are the root folders. A room always sees itself; what else it sees of ours is in ``MAY_SEE``: a whole room
(``imagedelta``) or one module (``services.deps``). What it may not see of others' is in ``ONLY_IN`` and ``NO_WORLD``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

_PORTS = {
    "services.deps",
    "services.ports",
    "services.store_port",
    "services.plan_facts",
    "services.registries.origin_rules",
    "services.watching.telemetry",
    "services.watching.metrics",
    "services.watching.log_fields",
}
"""What steps and triggers see of services: Protocols, and questions asked through them; no adapter."""

MAY_SEE: dict[str, set[str]] = {
    "imagedelta": set(),
    "contracts": {"imagedelta"},
    "planning": {"imagedelta", "contracts"},
    "imagedelta_registry": {"imagedelta"},
    "services": {"imagedelta", "imagedelta_registry", "contracts", "planning"},
    "store": {"imagedelta", "contracts", "services.store_port"},
    "activities": {"imagedelta", "contracts", "planning", *_PORTS},
    "orchestrators": set(),
    "triggers": {"imagedelta", "contracts", "planning", *_PORTS},
    "edge_module": {
        "imagedelta",
        "contracts",
        "services.ports",
        "services.blobs.http",
        "services.http_bounded",
    },
    "imagedelta_host": {"imagedelta.errors", "imagedelta.whole_files"},
    "imagedelta_local": {
        "imagedelta.errors",
        "imagedelta.whole_files",
        "imagedelta_host.database",
        "imagedelta_host.errors",
        "imagedelta_host.mounts",
    },
    "imagedelta_cli": {"imagedelta", "imagedelta_registry", "imagedelta_host", "imagedelta_local"},
    "demo": {"imagedelta", "edge_module", "imagedelta_local.hub_service"},
    "function_app": {"activities", "orchestrators", "triggers", "services"},
    "database_admit": {"services", "imagedelta.errors"},
    "database_upgrade": {"services"},
    "database_reconcile": {"activities", "services"},
}

WIRING = {("services/factory.py", "store.sql")}
"""The one place that picks the implementation of the store port."""

ONLY_IN: dict[str, set[str]] = {
    # the programming model of the function app
    "azure.functions": {"function_app.py", "triggers/", "imagedelta_host/"},
    "azure.durable_functions": {
        "function_app.py",
        "orchestrators/retrying.py",
        "triggers/timer_retention.py",
        "imagedelta_host/user_loop.py",
    },
    # SQL
    "sqlalchemy": {"store/", "imagedelta_cli/checks/sql.py"},
    "alembic": {"store/kernel/migrate.py", "store/migrations/"},
    "pyodbc": {"store/kernel/sql_server.py", "imagedelta_cli/checks/sql.py"},
    "sqlite3": {"imagedelta_host/", "imagedelta_local/", "store/kernel/engine.py", "demo/"},
    # HTTP: one client file for each outside system and each program; the demo is a program of people
    "httpcore": {"services/http_bounded.py"},
    "httpx": {
        "services/blobs/http.py",
        "services/http_bounded.py",
        "services/hubs/transport.py",
        "services/notices/webhook_http.py",
        "imagedelta_local/hub_service.py",
        "edge_module/hub_local.py",
        "edge_module/hub_choice.py",
        "edge_module/engines/registry_client.py",
        "imagedelta_cli/api_client.py",
        "imagedelta_cli/downloading.py",
        "imagedelta_cli/uploading.py",
        "imagedelta_registry/",
        "demo/",
    },
    "aiohttp": {"imagedelta_host/", "imagedelta_local/"},
    # the native coder, which is optional
    "imagedelta_native": {"imagedelta/delta/format/mixing.py"},
    # telemetry
    "opentelemetry": {"services/watching/otel.py"},
    # mail
    "smtplib": {"services/notices/mail_smtp.py"},
    "aiosmtpd": {"demo/"},
    # what Azure's library for IoT Hub sends by
    "msrest": {"services/hubs/sdk.py"},
    # tokens of Entra ID
    "azure.identity": {"services/identity.py", "imagedelta_cli/entra.py"},
    # blobs: the SDK in one file of each room, its errors beside it
    "azure.storage": {"services/blobs/azure_account.py", "imagedelta_cli/checks/blob_storage.py", "demo/azurite.py"},
    "azure.core": {
        "services/blobs/azure_account.py",
        "services/blobs/azure_errors.py",
        "services/identity.py",
        "imagedelta_cli/entra.py",
        "imagedelta_cli/checks/blob_storage.py",
    },
}

ONE_FILE = (
    "azure.monitor",
    "azure.storage",
    "azure.iot",
    "azure.identity",
    "azure.keyvault",
    "docker",
    "pyodbc",
    "smtplib",
    "paho",
)
"""SDKs of outside systems: each is known to one file of a room at most, its adapter."""

NO_WORLD = (
    "asyncio",
    "azure",
    "docker",
    "http",
    "httpx",
    "multiprocessing",
    "random",
    "requests",
    "secrets",
    "smtplib",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
    "uuid",
)
"""Network, SQL, processes, clock and chance: not in what is pure."""

THREADS = {
    "imagedelta/archives/digest_aside.py",
    *(f"imagedelta/delta/encode/{name}.py" for name in ("job_queue", "remembering", "spools", "windows")),
}
"""A build uses all cores: here jobs are run side by side, and what they read is counted. Results never differ."""

PURE = ("imagedelta", "contracts", "planning")

DELTA = "imagedelta.delta"
DELTA_MAY_SEE: dict[str, set[str]] = {
    "deflate": {"format.numbers"},
    "format": {"predict.clr_metadata"},
    "predict": {"format.mixing"},
    "decode": {"format", "deflate", "predict"},
    "encode": {"format", "deflate", "predict", "decode"},
}
"""Rooms of the delta engine. A device applies patches with nothing of the side that builds them."""


BUILDERS = ("imagedelta.delta.encode", "imagedelta.ranking", "imagedelta.signatures", "hdiffpatch", "bsdiff4")
"""What only the side that builds patches needs."""


def files_of(room: str) -> list[Path]:
    """The room's Python files; ``function_app`` and the two of the database are one file each."""
    single = ROOT / f"{room}.py"
    return [single] if single.exists() else sorted((ROOT / room).rglob("*.py"))


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module that the file imports, as dotted names; ``from a import b`` gives ``a.b``."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports of ours are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, *places: str) -> bool:
    """Whether a dotted name is one of ``places`` or below it."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


ALL_FILES = [path for room in MAY_SEE for path in files_of(room)]


def test_every_package_of_the_root_has_a_place_in_the_table() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}

    assert packages <= set(MAY_SEE), packages - set(MAY_SEE)
    assert all(files_of(room) for room in MAY_SEE)


@pytest.mark.parametrize("room", MAY_SEE)
def test_a_room_imports_only_what_the_table_lets_it_see(room: str) -> None:
    others = set(MAY_SEE) - {room}
    wrong = [
        f"{name_of(path)}: {name}"
        for path in files_of(room)
        for name in imports_of(path)
        if within(name, *others) and not within(name, *MAY_SEE[room])
        if not any(name_of(path) == file and within(name, seen) for file, seen in WIRING)
    ]

    assert wrong == []


@pytest.mark.parametrize("room", DELTA_MAY_SEE)
def test_the_side_that_applies_patches_knows_nothing_of_the_side_that_builds_them(room: str) -> None:
    others = {f"{DELTA}.{other}" for other in set(DELTA_MAY_SEE) - {room}}
    seen = {f"{DELTA}.{other}" for other in DELTA_MAY_SEE[room]}
    files = sorted((ROOT / "imagedelta" / "delta" / room).glob("*.py"))

    wrong = [f"{name_of(path)}: {name}" for path in files for name in imports_of(path) if within(name, *others - seen)]

    assert files
    assert [line for line in wrong if not within(line.split(": ")[1], *seen)] == []


_EVERYTHING_OF_A_DEVICE = """
import importlib, pkgutil, sys, edge_module
for module in pkgutil.walk_packages(edge_module.__path__, "edge_module."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*sys.modules, sep="\\n")
"""


def test_a_device_loads_nothing_of_the_side_that_builds_patches() -> None:
    """Not even by way of another module: what is loaded is asked of a process, not read from the text."""
    ran = subprocess.run(
        [sys.executable, "-c", _EVERYTHING_OF_A_DEVICE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = ran.stdout.split()

    assert "edge_module.device" in loaded and "imagedelta.delta.decode.apply" in loaded
    assert [name for name in loaded if within(name, *BUILDERS)] == []


def test_no_product_code_imports_tests_or_benchmarks() -> None:
    assert [
        name_of(path) for path in ALL_FILES if any(within(n, "tests", "benchmarks") for n in imports_of(path))
    ] == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_of_the_outside_is_imported_only_in_its_adapters(library: str) -> None:
    places = ONLY_IN[library]
    importers = {name_of(path) for path in ALL_FILES if any(within(name, library) for name in imports_of(path))}

    assert {file for file in importers if not any(file.startswith(place) for place in places)} == set()


@pytest.mark.parametrize("sdk", ONE_FILE)
def test_the_sdk_of_an_outside_system_is_known_to_one_file_of_a_room(sdk: str) -> None:
    for room in MAY_SEE:
        importers = [name_of(path) for path in files_of(room) if any(within(name, sdk) for name in imports_of(path))]
        assert len(importers) <= 1, importers


@pytest.mark.parametrize("room", PURE)
def test_what_is_pure_touches_no_network_no_sql_no_clock_and_no_chance(room: str) -> None:
    wrong = [(name_of(p), name) for p in files_of(room) for name in imports_of(p) if within(name, *NO_WORLD)]

    assert [found for found in wrong if found[1] != "threading" or found[0] not in THREADS] == []


def test_orchestrators_import_nothing_that_could_differ_on_replay() -> None:
    known = (
        "__future__",
        "collections",
        "contextlib.suppress",
        "typing",
        "orchestrators",
        "azure.durable_functions.RetryOptions",
    )
    wrong = [f"{name_of(p)}: {name}" for p in files_of("orchestrators") for name in imports_of(p)]

    assert [line for line in wrong if not within(line.split(": ")[1], *known)] == []
