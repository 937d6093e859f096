"""What goes into the module's container image is enough to run it, and pinned as in the cloud."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[3]


def copied() -> list[tuple[list[str], str]]:
    """(sources, target) of each COPY."""
    lines = (ROOT / "edge_module/Dockerfile").read_text().splitlines()
    words = [line.split()[1:] for line in lines if line.startswith("COPY ")]
    return [(each[:-1], each[-1]) for each in words]


def test_the_files_that_the_dockerfile_copies_are_enough_to_start_the_module(tmp_path: Path) -> None:
    for sources, target in copied():
        for source in sources:
            place = tmp_path / target / Path(source).name if target.endswith("/") else tmp_path / target
            place.parent.mkdir(parents=True, exist_ok=True)
            origin = ROOT / source
            shutil.copytree(origin, place, dirs_exist_ok=True) if origin.is_dir() else shutil.copy(origin, place)
    # -S keeps the project's own editable install out; the packages themselves stay importable.
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    environment = {**os.environ, "IMAGEDELTA_ROOT": str(tmp_path / "data"), "PYTHONPATH": packages}
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "edge_module", "images"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")


_IMPORT_ALL = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"{name} is not among the module's requirements", name=name)

sys.meta_path.insert(0, Refuse())
import edge_module
for module in pkgutil.walk_packages(edge_module.__path__, "edge_module."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def installed_with(requirements: list[str]) -> set[str]:
    """Names of the distributions that pip installs for these, as far as they are installed here."""
    found: set[str] = set()
    while requirements:
        line = requirements.pop()
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-")
        if name not in found and "extra ==" not in line:
            found.add(name)
            with suppress(metadata.PackageNotFoundError):
                requirements += metadata.requires(name) or []
    return found


def test_the_module_needs_no_library_that_its_requirements_do_not_bring() -> None:
    lines = (ROOT / "edge_module/requirements.txt").read_text().splitlines()
    there = installed_with([line for line in lines if line and line[0] != "#"]) | {"imagedelta"}
    others = [
        package
        for package, distributions in metadata.packages_distributions().items()
        if not there & {name.lower().replace("_", "-") for name in distributions}
    ]

    ran = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, *others], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert {"hdiffpatch", "bsdiff4", "sqlalchemy"} <= set(others)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_module_runs_the_same_versions_as_the_cloud() -> None:
    def pins(path: str) -> set[str]:
        return {line for line in (ROOT / path).read_text().splitlines() if "==" in line}

    assert pins("edge_module/requirements.txt") <= pins("requirements.txt")


def test_module_json_names_the_dockerfile_for_each_platform() -> None:
    image = json.loads((ROOT / "edge_module/module.json").read_text())["image"]

    assert {(ROOT / "edge_module" / path).is_file() for path in image["tag"]["platforms"].values()} == {True}
