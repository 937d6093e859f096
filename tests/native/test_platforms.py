"""The C coder under sanitizers, and the same coded bytes on x86-64 and aarch64."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from imagedelta_native import MOST_BITS, memory_bytes

MEMORY_BYTES = memory_bytes(MOST_BITS)
NATIVE = Path(__file__).parents[2] / "native"
INPUTS = "40"
TARGETS = ["mixing", "operands"]
SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DMIXING_PLAIN"]

pytestmark = pytest.mark.e2e


def tried(folder: Path, target: str, compiler: str, *options: str, runner: tuple[str, ...] = ()) -> str:
    """What is said of inputs of a fixed seed: how many, and a sum over all coded bytes."""
    built = folder / "fuzz"
    fuzz = NATIVE / "fuzz"
    sources = [fuzz / "without_libfuzzer.c", fuzz / f"fuzz_{target}.c", *(NATIVE / "src").glob(f"{target}*.c")]
    command = [compiler, "-std=c11", f"-I{NATIVE / 'src'}", *options, *map(str, sources), "-o", str(built)]
    subprocess.run(command, check=True, timeout=120)
    ran = subprocess.run([*runner, str(built), INPUTS], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_any_bytes_are_taken_without_undefined_behaviour(tmp_path: Path, target: str) -> None:
    assert tried(tmp_path, target, "gcc", "-O1", *SANITIZED).startswith(f"{INPUTS} inputs")


def test_a_decoder_allocates_no_more_than_it_says(tmp_path: Path) -> None:
    built = tmp_path / "count"
    wraps = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc")]
    sources = [str(NATIVE / "fuzz" / "count_memory.c"), str(NATIVE / "src" / "mixing.c")]
    command = ["gcc", "-std=c11", "-O2", *wraps, f"-I{NATIVE / 'src'}", *sources, "-o", str(built)]
    subprocess.run(command, check=True, timeout=120)

    counted = subprocess.run([str(built)], capture_output=True, text=True, timeout=60, check=True).stdout.split()

    assert len(counted) == 2
    assert all(MEMORY_BYTES * 0.9 < int(size) <= MEMORY_BYTES for size in counted)


TOUCH_ALL = """
import pathlib, random, sys
import imagedelta_native as native
noise = random.Random(1).randbytes(1 << 16)
def residual():
    decoder = native.ResidualDecoder(lambda most: random.randbytes(most))
    for _ in range(12): decoder.span(noise)
def new():
    decoder = native.BytesDecoder(lambda most: random.randbytes(most))
    for _ in range(12): decoder.make(1 << 16)
peak = lambda: int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
{"residual": residual, "new": new}[sys.argv[1]]()
print((peak() - before) * 1024)
"""


@pytest.mark.parametrize("model", ["residual", "new"])
def test_a_decoder_takes_no_more_memory_than_it_says(model: str) -> None:
    command = [sys.executable, "-c", TOUCH_ALL, model]

    took = int(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)

    assert MEMORY_BYTES * 0.8 < took <= MEMORY_BYTES + (1 << 20)  # Python's own buffers of the pieces


@pytest.mark.parametrize("target", TARGETS)
def test_coded_bytes_are_the_same_on_every_platform(tmp_path: Path, target: str) -> None:
    (tmp_path / "arm").mkdir()
    plain = tried(tmp_path, target, "gcc", "-O0", "-DMIXING_PLAIN")
    fast = tried(tmp_path, target, "gcc", "-O3")
    if platform.machine() == "aarch64":
        arm = fast
    else:
        qemu = ("qemu-aarch64-static",)
        arm = tried(tmp_path / "arm", target, "aarch64-linux-gnu-gcc", "-O3", "-static", runner=qemu)

    assert plain == fast == arm
