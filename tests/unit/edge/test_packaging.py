"""What goes into the module's container image: pinned as in the tests, and named for each platform.

That it is enough to run the module is held by tests/e2e/device/test_requirements.py and test_module_image.py.
"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from edge_module.image.compiling import compile_imported
from tests.e2e.device.module_image import files_of_context

ROOT = Path(__file__).parents[3]


def pins(path: str) -> dict[str, str]:
    lines = [line.strip().lower() for line in (ROOT / path).read_text().splitlines() if "==" in line]
    return {name: version for name, _, version in (line.partition("==") for line in lines)}


def test_the_module_runs_the_versions_that_the_tests_run() -> None:
    module, tests = pins("edge_module/requirements.txt"), pins("constraints.txt")
    common = module.keys() & tests.keys()

    assert {"brotli", "cryptography", "httpx", "pydantic", "zstandard"} <= common
    assert {name: module[name] for name in common} == {name: tests[name] for name in common}


def test_module_json_names_the_dockerfile_for_each_platform() -> None:
    image = json.loads((ROOT / "edge_module/module.json").read_text())["image"]

    assert set(image["tag"]["platforms"]) == {"amd64", "arm64v8", "arm32v7"}
    assert {(ROOT / "edge_module" / path).is_file() for path in image["tag"]["platforms"].values()} == {True}
    head = (ROOT / "edge_module/Dockerfile").read_text().partition("FROM ")[0].splitlines()
    stated = {line.split()[1] for line in head if line.startswith("ARG ")}
    assert {option.split()[1] for option in image["buildOptions"]} == stated


def test_every_file_that_the_dockerfile_copies_is_in_what_docker_is_sent_and_no_builder_is() -> None:
    sent = set(files_of_context())
    lines = (ROOT / "edge_module/Dockerfile").read_text().splitlines()
    sources = {
        word
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
        if "*" not in word
    }

    assert sources
    assert {source for source in sources if not any(f"{name}/".startswith(f"{source}/") for name in sent)} == set()
    assert [name for name in sent if "/encode/" in name or "__pycache__" in name or "/ranking/" in name] == []


def test_bytecode_bears_no_times_and_covers_what_was_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "lately_imported.py"
    source.write_text("VALUE = 1\n")
    module = types.ModuleType("lately_imported")
    module.__file__ = str(source)
    monkeypatch.setattr(sys, "modules", {"lately_imported": module, "built_in": types.ModuleType("built_in")})
    monkeypatch.setattr(sys, "pycache_prefix", None)

    compile_imported(tmp_path / "compiled")

    (made,) = (tmp_path / "compiled").rglob("*.pyc")
    assert made.read_bytes()[4:8] == b"\x01\x00\x00\x00"  # by the hash of its source, which nobody compares
