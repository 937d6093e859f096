"""A bundle made on a workstation, carried by hand into the inbox of a real device process."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli_tools import run
from tests.e2e.device_ship import Ship
from tests.e2e.host_process import APPS, HostProcess, wait_for
from tests.images import an_image, docker_save

pytestmark = pytest.mark.e2e

CODE = random.Random(1).randbytes(3_000_000)
OLD = an_image({"lib": CODE}, references=("app:1",))
NEW = an_image({"lib": CODE[:2_000_000] + b"new" + CODE[2_000_000:]}, references=("app:2",))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    folder = tmp_path_factory.mktemp("ashore")
    process = HostProcess(folder / "state", APPS / "everything", LOG=str(folder / "log"), TICK="0 0 0 1 1 *")
    yield process.start()
    process.stop()


@pytest.fixture
def workstation(tmp_path: Path) -> Path:
    """A folder with both archives and two key pairs."""
    folder = tmp_path / "workstation"
    folder.mkdir()
    (folder / "app-1.tar").write_bytes(docker_save(OLD))
    (folder / "app-2.tar").write_bytes(docker_save(NEW))
    for key in ("fleet.key", "other.key"):
        run("keys", "new", key, cwd=folder)
    return folder


def test_a_bundle_dropped_into_the_inbox_becomes_an_image_and_a_strangers_is_kept_aside(
    host: HostProcess, workstation: Path, tmp_path: Path
) -> None:
    for key in ("fleet", "other"):
        made = ("diff", "app-2.tar", "--source", "app-1.tar", "-o", f"{key}.bundle", "--key", f"{key}.key")
        assert run(*made, cwd=workstation)["bundleBytes"] < 30_000
    ship = Ship(host, "ship-1", tmp_path, IMAGEDELTA_STABLE_SECONDS="0.2")
    shutil.copy(workstation / "fleet.key.pub", tmp_path / "ship-1-keys/workstation.pub")
    ship.load(workstation / "app-1.tar")
    ship.desire()
    device = ship.start()
    wait_for(lambda: ship.messages("inventory"))

    for key in ("other", "fleet"):
        shutil.copy(workstation / f"{key}.bundle", ship.root / "inbox")
    wait_for(lambda: not any((ship.root / "inbox").iterdir()) and (ship.root / "refused").exists(), 60)

    device.terminate()
    assert device.wait(timeout=30) == 0, ship.log.read_text()
    assert ship.has_whole(NEW)
    assert f"{NEW.image_id} app:2" in ship.command("images").stdout
    assert [path.name for path in sorted((ship.root / "refused").iterdir())] == [
        "000001-other.bundle",
        "000001-other.bundle.reason.txt",
    ]
    assert "seal.unknown_key" in (ship.root / "refused/000001-other.bundle.reason.txt").read_text()
    assert ship.reports() == []
    assert ship.leftovers() == []
