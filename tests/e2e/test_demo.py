"""The demo as a new user runs it: one command, then offline, then interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.images import build_images
from demo.wheels import fetch
from demo.workspace import default_workspace
from imagedelta.archives import open_archive

pytestmark = pytest.mark.e2e

IMAGE_IDS = {
    "recon:1": "sha256:ea818ebcf727de2a426bbf8d6900d32110ff604b3d0c5bac6bd9679bb09ed5e3",
    "app:1": "sha256:fe17e56edf4a54256e247bd096c1a9faedbccbc67089691928af7de291a333c7",
    "app:2": "sha256:50bc8245f14f5110f41bc63b403fdb1401123b12b5c1b52fd495b906ed667d79",
    "tool:1": "sha256:5bcc146ef55f823bd4486d9db251fa5352b1e86e893d03f91a145e672416313a",
}
"""The same on every machine: nothing of the machine goes into an image."""

RUN_SECONDS = 900


@dataclass(frozen=True)
class Run:
    folder: Path
    code: int
    output: str
    summary: Mapping[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One whole run, without any network: pip would fail at once if it were asked for anything."""
    downloads = default_workspace().downloads
    fetch(downloads)
    folder = tmp_path_factory.mktemp("demo") / "run"
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "nothing"), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        demo_command(folder), capture_output=True, text=True, env={**os.environ, **offline}, timeout=RUN_SECONDS
    )
    summary_file = folder / "summary.json"
    summary = json.loads(summary_file.read_text()) if summary_file.exists() else {}
    return Run(folder, done.returncode, done.stdout + done.stderr, summary)


def demo_command(folder: Path) -> list[str]:
    downloads = default_workspace().downloads
    return [sys.executable, "-m", "demo", "--folder", str(folder), "--downloads", str(downloads)]


def test_the_demo_holds_all_it_promises_and_needs_no_network_once_it_has_its_packages(run: Run) -> None:
    assert run.code == 0, run.output
    assert "Everything held" in run.output


def test_four_images_arrived_small_and_verified_and_the_third_device_needed_none(run: Run) -> None:
    rows = {(row["device"], row["image"]): row for row in run.summary["transfers"]}

    assert set(rows) == {("aurora", "app:2"), ("aurora", "tool:1"), ("boreas", "app:2"), ("boreas", "tool:1")}
    assert {row["state"] for row in rows.values()} == {"succeeded"}
    assert all(row["verified"] and row["imageId"] == IMAGE_IDS[row["image"]] for row in rows.values())
    assert rows["boreas", "app:2"]["source"] == "app:1"
    assert rows["boreas", "app:2"]["bundleBytes"] <= 0.05 * rows["boreas", "app:2"]["fullBytes"]
    assert all(row["bundleBytes"] <= 0.40 * row["fullBytes"] for row in rows.values())
    assert run.summary["alreadyPresent"] == ["calypso"]


def test_one_mail_and_one_release_each_in_spite_of_both_kills(run: Run) -> None:
    assert run.summary["state"] == "completed"
    assert run.summary["kills"] == {"host": 1, "device": 1}
    assert run.summary["mails"] == 2
    assert sorted(run.summary["releases"], key=lambda release: str(release["device"])) == [
        {"device": "aurora", "hub": "north"},
        {"device": "boreas", "hub": "south"},
        {"device": "calypso", "hub": "south"},
    ]


def test_the_report_is_there_and_says_so(run: Run) -> None:
    html = (run.folder / "report.html").read_text("utf-8")

    assert "Everything held" in html
    assert "<script" not in html


def test_no_process_of_the_demo_is_left(run: Run) -> None:
    assert processes_in(run.folder) == []


def test_an_interrupted_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    fetch(default_workspace().downloads)
    folder = tmp_path / "run"
    with subprocess.Popen(demo_command(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        wait_for_devices(folder, running)

        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=120)

    assert running.returncode == 130, output
    assert "no process is left" in output
    assert processes_in(folder) == []


def test_every_image_has_its_image_id_on_this_machine_too_in_both_archive_forms(run: Run, tmp_path: Path) -> None:
    built = build_images(fetch(default_workspace().downloads), tmp_path)
    written: dict[str, str] = {}
    for path in (run.folder / "archives").iterdir():
        with open_archive(path) as archive:
            written |= {image.references[0]: image.image_id for image in archive.images}

    assert {reference: image.image.image_id for reference, image in built.items()} == IMAGE_IDS
    assert written == IMAGE_IDS
    assert {path.suffixes[-2] for path in (run.folder / "archives").iterdir()} == {".docker", ".oci"}


def wait_for_devices(folder: Path, running: subprocess.Popen[str]) -> None:
    """Until the host and a device run."""
    end = time.monotonic() + 120
    while len(processes_in(folder)) < 3:  # the demo itself, the host, a device
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that name the folder in their arguments or settings."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ends while it is looked at
            texts = [*process.cmdline(), process.environ().get("IMAGEDELTA_ROOT", "")]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in text for text in texts):
                found.append(" ".join(process.cmdline()))
    return found
