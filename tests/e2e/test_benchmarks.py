"""The benchmark with every peer that can be installed, on two tiny images."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import OK, read
from benchmarks.tools import tools
from tests.images import an_image, docker_save

pytestmark = pytest.mark.e2e


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """``web-1`` and ``web-2``: a layer that stays and one in which a file of 200 changes."""
    chance = random.Random(4)
    base = {"lib/base": chance.randbytes(300_000)}
    files = {
        f"app/{number:03}.js": b"".join(chance.randbytes(20).hex().encode() for _ in range(40)) for number in range(200)
    }
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "web-1.tar").write_bytes(docker_save(an_image(base, files)))
    (folder / "web-2.tar").write_bytes(docker_save(an_image(base, files | {"app/100.js": b"new words\n" * 50})))
    return folder


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_every_tool_rebuilds_the_image_and_the_report_shows_it(images: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"

    ran = benchmark("run", "--images", str(images), "--scenarios", "web", "--out", str(results))
    again = benchmark("run", "--images", str(images), "--scenarios", "web", "--out", str(results), "--resume")
    reported = benchmark("report", str(results))

    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    assert ran.returncode == 0, ran.stderr
    measured = read(results)
    assert {result.tool: (result.status, result.reason) for result in measured.results} == dict.fromkeys(
        tools(), (OK, "")
    )
    assert all(result.build and result.apply and result.build.peak_rss_bytes > 0 for result in measured.results)
    assert measured.machine["xdelta3"].startswith("Xdelta") and measured.machine["cores"].isdigit()
    ours, layers = measured.of("web", "imagedelta"), measured.of("web", "layers")
    assert ours and layers and ours.bytes and layers.bytes and ours.bytes < layers.bytes / 10
    assert ours.details["bytesRead"] > 0
    assert reported.returncode == 0 and "web: next release of a web app" in reported.stdout


def test_what_is_not_known_is_wrong_use(images: Path, tmp_path: Path) -> None:
    wrong = benchmark("run", "--images", str(images), "--tools", "rsync", "--out", str(tmp_path / "r.jsonl"))

    assert wrong.returncode == 2
    assert "no tool rsync; there are imagedelta, imagedelta-v1" in wrong.stderr


@pytest.mark.long
def test_a_device_is_updated_with_every_engine_and_beside_a_docker_pull() -> None:
    ran = benchmark("device", "--megabytes", "24", "--json")

    assert ran.returncode == 0, ran.stderr
    pull, *ours = map(json.loads, ran.stdout.splitlines())
    assert {line["name"].split(",")[0] for line in ours} == {"layout", "registry", "docker"}
    assert pull["linkBytes"] > 9_000_000 and pull["memoryBytes"] is None
    assert all(line["linkRatio"] < 0.001 and 0 < line["memoryBytes"] < 128 << 20 for line in ours)
    assert all(line["peakDiskBytes"] >= line["keptDiskBytes"] > 20_000_000 for line in ours)
    assert all((line["requests"] > 0) == (line["name"] != "layout") for line in ours)
