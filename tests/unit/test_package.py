"""What azd packs (.funcignore) is all that the function app needs, and nothing of the rest of the repository."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package import ROOT, pack

LOOK = """
import sys
root, package = sys.argv[1:]
sys.meta_path[:] = [each for each in sys.meta_path if not each.__module__.startswith("__editable__")]
sys.path[:] = [package, *(each for each in sys.path if each and not each.rstrip("/") == root)]
import function_app
print(len(function_app.app.get_functions()))
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or ""
    if file.startswith(root + "/") and "/.venv/" not in file:
        print("from outside:", file)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("package") / "app")


def test_the_package_alone_is_indexed(package: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(ROOT), str(package)],
        cwd=package,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "IMAGEDELTA_STORAGE": "https://x.blob.core.windows.net",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    count, *outside = done.stdout.splitlines()
    assert (int(count) > 40, outside) == (True, [])


def test_the_package_holds_nothing_but_the_app(package: Path) -> None:
    files = {".funcignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "host.json", "priorities.yaml"}
    files |= {"database_reconcile.py", "database_upgrade.py", "function_app.py", "requirements.txt"}
    rooms = {"activities", "contracts", "imagedelta", "imagedelta_registry", "orchestrators", "planning"}
    rooms |= {"native", "services", "store", "triggers"}
    assert {each.name for each in package.iterdir()} == files | rooms


def test_the_package_has_no_secret_of_whoever_packs_it(package: Path) -> None:
    names = [each.name for each in package.rglob("*")]

    assert [name for name in names if re.fullmatch(r"local\.settings.*|seal\.key|.*\.db|\.env", name)] == []
