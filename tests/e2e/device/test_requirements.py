"""The module's requirements are enough to run it, and exist for every platform of a device."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.device.module_image import ROOT, files_of_context
from tests.images import an_image, docker_save

pytestmark = pytest.mark.e2e
REQUIREMENTS = ROOT / "edge_module/requirements.txt"
PLATFORMS = {
    "arm64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
    "arm/v7": ("manylinux2014_armv7l", "manylinux_2_31_armv7l", "manylinux_2_34_armv7l"),
}
"""Of wheels that run on Debian 12, glibc 2.36. For amd64 the image is built."""
PLAIN_PYTHON = {"paho-mqtt"}
"""Without a wheel: pip makes one on the way, anywhere."""
COMPILED: dict[str, set[str]] = {"arm64": set(), "arm/v7": {"Brotli", "cffi", "zstandard"}}
"""Without a wheel: compiled in the image BUILD_IMAGE, which has what that takes (edge_module/README.md)."""

IMPORT_EVERYTHING = """
import importlib, pkgutil, edge_module
for module in pkgutil.walk_packages(edge_module.__path__, "edge_module."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def pinned() -> list[str]:
    lines = REQUIREMENTS.read_text().splitlines()
    return [line.split(" ")[0] for line in lines if line and line[0] != "#"]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(Python with exactly the requirements, folder with exactly what the image holds)."""
    folder = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile"]
    subprocess.run([*install, "--requirement", REQUIREMENTS], check=True, timeout=300)
    for name in files_of_context():
        place = folder / "app" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place)
    return python, folder / "app"


def run(device: tuple[Path, Path], *arguments: str | Path, root: Path) -> subprocess.CompletedProcess[str]:
    python, app = device
    environment = {"PATH": os.environ["PATH"], "IMAGEDELTA_ROOT": str(root), "IMAGEDELTA_ENGINE": "layout"}
    return subprocess.run(
        [python, *arguments], cwd=app, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_every_requirement_is_pinned_and_together_they_lack_nothing(device: tuple[Path, Path], tmp_path: Path) -> None:
    checked = run(device, "-m", "pip", "check", root=tmp_path)

    assert [line for line in pinned() if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []
    assert checked.returncode == 0, checked.stdout


def test_the_module_imports_nothing_that_its_requirements_do_not_bring(
    device: tuple[Path, Path], tmp_path: Path
) -> None:
    ran = run(device, "-W", "error", "-c", IMPORT_EVERYTHING, root=tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")


NEEDED = """
import ast, re, sys
from importlib import metadata
from pathlib import Path
from packaging.requirements import Requirement

def normal(name): return re.sub(r"[-_.]+", "-", name).lower()

def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import): yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom): yield from (f"{node.module}.{alias.name}" for alias in node.names)

names = {name for file in Path(".").rglob("*.py") for name in imported(file)}
packages = {"azure": ["azure-iot-device"], **metadata.packages_distributions()}
needed, waiting = set(), [each for name in names for each in packages.get(name.split(".")[0], ())]
while waiting:
    name = normal(waiting.pop())
    if name not in needed:
        needed.add(name)
        asked = map(Requirement, metadata.requires(name) or ())
        waiting += [each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]
print(*needed)
"""


def test_no_requirement_is_there_for_nothing(device: tuple[Path, Path], tmp_path: Path) -> None:
    """Each one is imported by the module, somewhere, or asked for by one that is."""
    ran = run(device, "-c", NEEDED, root=tmp_path)

    assert ran.returncode == 0, ran.stderr
    needed = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in pinned()}
    assert needed == set(ran.stdout.split()) - {"pip", "setuptools"}


def test_the_module_works_with_nothing_else(device: tuple[Path, Path], tmp_path: Path) -> None:
    image = an_image({"a": b"x" * 1000}, references=("app:1",))
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_save(image))

    loaded = run(device, "-m", "edge_module", "load", archive, root=tmp_path / "data")
    listed = run(device, "-m", "edge_module", "images", root=tmp_path / "data")

    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert listed.stdout == f"{image.image_id} app:1\n"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_requirement_has_a_wheel_for_the_platform_but_for_those_known_to_be_built(
    platform: str, tmp_path: Path
) -> None:
    built = {line for line in pinned() if line.split("==")[0] in COMPILED[platform] | PLAIN_PYTHON}

    def fetched(*requirements: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"]
        command += ["--abi", "abi3", "--abi", "none", "--dest", str(tmp_path)]
        command += [word for tag in PLATFORMS[platform] for word in ("--platform", tag)]
        return subprocess.run([*command, *requirements], capture_output=True, text=True, timeout=300, check=False)

    all_but_these = fetched(*(line for line in pinned() if line not in built))
    each_of_these = [fetched(requirement) for requirement in built]

    assert (all_but_these.returncode, len(built)) == (0, len(COMPILED[platform] | PLAIN_PYTHON)), all_but_these.stderr
    assert ["No matching distribution found" in each.stderr for each in each_of_these] == [True] * len(built)
