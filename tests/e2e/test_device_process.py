"""The Image Reconstruction module as a real process, with a real host, hub and outbox container."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagedelta.delta.encode import PatchSummary
from tests.e2e.device_ship import Ship
from tests.e2e.host_process import APPS, HostProcess, wait_for
from tests.images import an_image, docker_save
from tests.unit.delta.patches import a_patch

pytestmark = pytest.mark.e2e
MIB = 1024 * 1024


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = {f"lib/{number}": noise(MIB, number) for number in range(4)}
OLD = an_image(BASE, {"app/code": noise(MIB, 10)}, references=("app:1",))
NEW = an_image(
    BASE,
    *({f"part/{number}": noise(2 * MIB, 20 + number)} for number in range(6)),
    {"app/code": noise(MIB, 10)[: MIB // 2] + noise(MIB // 2, 11)},
    references=("app:2",),
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("ashore")
    process = HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"), TICK="0 0 0 1 1 *")
    yield process.start()
    process.stop()


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, PatchSummary]:
    return a_patch(NEW, OLD, scratch=tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "app-1.tar"
    path.write_bytes(docker_save(OLD))
    return path


def finish(process: subprocess.Popen[bytes]) -> int:
    return process.wait(timeout=120)


def test_a_device_fetches_rebuilds_and_reports_through_hub_and_outbox(
    host: HostProcess, patch: tuple[bytes, PatchSummary], archive: Path, tmp_path: Path
) -> None:
    ship = Ship(host, "ship-1", tmp_path)
    ship.load(archive)
    ship.publish(*patch, reference="app:2")
    ship.desire()

    code = finish(ship.start("--until-idle"))

    assert code == 0, ship.log.read_text()
    assert ship.has_whole(NEW)
    assert ship.has_whole(OLD)
    wait_for(lambda: len(ship.reports()) == 4)
    assert [report["state"] for report in ship.reports()] == ["receiving", "received", "applying", "succeeded"]
    assert ship.messages("inventory")[0]["system"]["content-encoding"] == "gzip"
    assert ship.reported()["engine"] == "layout"
    assert ship.leftovers() == []
    assert f"{NEW.image_id} app:2" in ship.command("images").stdout


def test_a_device_killed_while_it_applies_keeps_finished_layers_and_reports_once(
    host: HostProcess, patch: tuple[bytes, PatchSummary], archive: Path, tmp_path: Path
) -> None:
    ship = Ship(host, "ship-2", tmp_path)
    ship.load(archive)
    ship.publish(*patch, reference="app:2")
    ship.desire()
    finished: dict[Path, int] = {}
    new_layers = [ship.layer(diff_id) for diff_id in NEW.image.diff_ids if diff_id not in OLD.image.diff_ids]

    for kill in range(3):
        process = ship.start()
        wait_for(
            lambda kill=kill: (
                sum(path.exists() for path in new_layers) > kill and any((ship.root / "images/ingest").iterdir())
            ),
            60,
            pause=0.001,
        )
        process.kill()
        finish(process)
        assert ship.journal()["transfer-1"]["state"] == "applying"
        assert ship.has_whole(OLD)
        for path in new_layers:
            if path.exists():
                assert finished.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert finish(ship.start("--until-idle")) == 0, ship.log.read_text()

    assert ship.has_whole(NEW)
    assert len(finished) >= 3
    assert all(path.stat().st_mtime_ns == made for path, made in finished.items())
    wait_for(lambda: any(report["state"] == "succeeded" for report in ship.reports()))
    identities = {event["system"]["message-id"] for event in ship.messages("report")}
    assert identities == {f"transfer-1:1:{sequence}" for sequence in range(1, 5)}
    assert ship.leftovers() == []


def test_a_device_asked_to_stop_stops_cleanly_and_goes_on_later(
    host: HostProcess, patch: tuple[bytes, PatchSummary], archive: Path, tmp_path: Path
) -> None:
    ship = Ship(host, "ship-3", tmp_path)
    ship.load(archive)
    ship.desire()
    process = ship.start()
    wait_for(lambda: ship.messages("inventory"))

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    ship.publish(*patch)
    assert finish(ship.start("--until-idle")) == 0

    assert ship.has_whole(NEW)


def test_a_second_process_in_the_same_folder_is_refused(host: HostProcess, tmp_path: Path) -> None:
    ship = Ship(host, "ship-4", tmp_path)
    process = ship.start()
    wait_for(lambda: (ship.root / "state").exists())

    second = ship.command("run")

    process.kill()
    finish(process)
    assert second.returncode == 1
    assert "device.busy" in second.stderr


def test_a_device_whose_hub_is_down_waits_and_reports_when_it_is_back(
    host: HostProcess, patch: tuple[bytes, PatchSummary], archive: Path, tmp_path: Path
) -> None:
    ship = Ship(host, "ship-5", tmp_path, IMAGEDELTA_STABLE_SECONDS="0.2")
    ship.load(archive)
    ship.environment["IMAGEDELTA_HUB"] = ship.environment["IMAGEDELTA_HUB"].replace("/iothub/", "/nohub/")
    folder = ship.root / "inbox"
    folder.mkdir()
    data, summary = patch
    name = ship.publish(data, summary)
    (folder / name).write_bytes(_download(host, ship, name))
    process = ship.start()
    wait_for(lambda: ship.journal().get("transfer-1", {}).get("state") == "succeeded", 60)
    process.kill()
    finish(process)
    assert ship.reports() == []

    ship.environment["IMAGEDELTA_HUB"] = ship.environment["IMAGEDELTA_HUB"].replace("/nohub/", "/iothub/")
    ship.desire()
    assert finish(ship.start("--until-idle")) == 0
    wait_for(lambda: any(report["state"] == "succeeded" for report in ship.reports()))
    # Killed before it had removed the bundle, it repeats the report when it finds it again: same message id.
    identities = dict.fromkeys(event["system"]["message-id"] for event in ship.messages("report"))
    assert list(identities) == ["transfer-1:1:1", "transfer-1:1:2"]


def _download(host: HostProcess, ship: Ship, name: str) -> bytes:
    return (host.state / "blobs" / f"outbox-{ship.device}" / name).read_bytes()
