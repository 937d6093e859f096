"""The C coder under sanitizers, and the same coded bytes on x86-64 and aarch64."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
INPUTS = "40"
SOURCES = [str(NATIVE / "fuzz" / "fuzz_mixing.c"), str(NATIVE / "src" / "mixing.c")]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DMIXING_PLAIN"]

pytestmark = pytest.mark.e2e


def tried(folder: Path, compiler: str, *options: str, runner: tuple[str, ...] = ()) -> str:
    """What the fuzzer's own main says of inputs of a fixed seed: how many, and a sum over all coded bytes."""
    built = folder / "fuzz"
    common = ["-std=c11", "-DWITHOUT_LIBFUZZER", f"-I{NATIVE / 'src'}"]
    subprocess.run([compiler, *common, *options, *SOURCES, "-o", str(built)], check=True, timeout=120)
    ran = subprocess.run([*runner, str(built), INPUTS], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_any_coded_bytes_are_decoded_without_undefined_behaviour(tmp_path: Path) -> None:
    assert tried(tmp_path, "gcc", "-O1", *SANITIZED).startswith(f"{INPUTS} inputs")


def test_coded_bytes_are_the_same_on_every_platform(tmp_path: Path) -> None:
    (tmp_path / "arm").mkdir()
    plain = tried(tmp_path, "gcc", "-O0", "-DMIXING_PLAIN")
    fast = tried(tmp_path, "gcc", "-O3")
    if platform.machine() == "aarch64":
        arm = fast
    else:
        qemu = ("qemu-aarch64-static",)
        arm = tried(tmp_path / "arm", "aarch64-linux-gnu-gcc", "-O3", "-static", runner=qemu)

    assert plain == fast == arm
