"""The package as it is shipped: one wheel for every Python from 3.11 on, built with a C compiler alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package import pack

SAMPLE = """
import io, imagedelta_native as native
coded = b"".join(native.encode_bytes([b"sample" * 99]))
print(native.BytesDecoder(io.BytesIO(coded).read).make(6 * 99) == b"sample" * 99)
"""

pytestmark = pytest.mark.e2e


def deployed(folder: Path) -> Path:
    """native/ as azd packs it."""
    return pack(folder / "app") / "native"


def installed(source: Path, target: Path, **env: str) -> subprocess.CompletedProcess[str]:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-cache-dir", "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, **env}, cwd=source.parent)
    tried = [sys.executable, "-c", SAMPLE]
    alone = {**os.environ, "PYTHONPATH": str(target)}
    return subprocess.run(tried, capture_output=True, text=True, timeout=60, check=False, env=alone, cwd=target)


def test_what_is_deployed_builds_one_wheel_for_every_python(tmp_path: Path) -> None:
    source = deployed(tmp_path)

    tried = installed(source, tmp_path / "packages")

    assert tried.stdout == "True\n", tried.stderr
    (tag,) = (tmp_path / "packages").glob("imagedelta_native-*.dist-info/WHEEL")
    assert "Tag: cp311-abi3-linux_" in tag.read_text()
    assert [path.name for path in (tmp_path / "packages/imagedelta_native").glob("*.so")] == ["_native.abi3.so"]


def test_without_a_compiler_it_is_installed_and_cannot_be_imported(tmp_path: Path) -> None:
    source = deployed(tmp_path)

    tried = installed(source, tmp_path / "packages", CC="false")

    assert "ModuleNotFoundError" in tried.stderr or "ImportError" in tried.stderr, tried.stdout
