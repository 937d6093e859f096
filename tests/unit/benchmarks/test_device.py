from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.device_figures import DeviceFigure, Traffic, document, table, traffic
from benchmarks.device_images import make_update
from benchmarks.device_meter import disk_bytes
from imagedelta.bundles import read_bundle

REGISTRY_LOG = b"""\
time="2026-01-01T00:00:00Z" level=warning msg="said "GET /v2/ HTTP/1.1" 200 1000000 "
127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "HEAD /v2/app/manifests/2 HTTP/1.1" 200 700 "" "docker/20.10"
127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] "GET /v2/app/manifests/2 HTTP/1.1" 200 700 "" "docker/20.10"
127.0.0.1 - - [01/Jan/2026:00:00:01 +0000] "GET /v2/app/blobs/sha256:1 HTTP/1.1" 206 20000 "" "docker/20.10"
"""
DAEMON_LOG = b"""\
time="2026-01-01T00:00:00Z" level=debug msg="Calling GET /info"
time="2026-01-01T00:00:00Z" level=debug msg="Pulling app:2 from http://127.0.0.1:5000 v2"
time="2026-01-01T00:00:00Z" level=debug msg="Calling POST /v1.41/images/create?fromImage=app"
"""
PULL = DeviceFigure("docker pull", 2.0, 5, 20_000_000, 80_000_000, 60_000_000, 40_000_000, None)
OURS = DeviceFigure("registry", 5.0, 70, 5_000, 120_000_000, 30_000_000, 20_000_000, 75_000_000)


def test_requests_to_both_servers_count_and_only_bodies_that_were_fetched_are_bytes() -> None:
    assert traffic(REGISTRY_LOG, DAEMON_LOG) == Traffic(requests=5, registry_bytes=20_700)
    assert traffic(b"", b"") == Traffic(0, 0)


def test_every_update_stands_beside_the_pull_with_its_ratios() -> None:
    shown = table("An update", [OURS], PULL)

    pull, ours = shown.rows
    assert pull[:3] == ("docker pull", "2.0", "1.0")
    assert ours == (
        *("registry", "5.0", "2.5", "5,000", "0.0003", "70", "75"),
        *("120.0", "1.5", "30.0", "0.5", "20.0"),
    )
    assert pull[6] == "–"
    assert {len(row) for row in shown.rows} == {len(shown.header)}


def test_a_machine_reads_the_same() -> None:
    told = document(OURS, PULL)

    assert (told["name"], told["linkBytes"], told["memoryBytes"]) == ("registry", 5_000, 75_000_000)
    assert (told["secondsRatio"], told["writtenRatio"], told["peakDiskRatio"]) == (2.5, 1.5, 0.5)
    assert told["linkRatio"] == 0.00025


def test_there_is_no_ratio_to_nothing() -> None:
    nothing = replace(PULL, written_bytes=0)

    assert document(OURS, nothing)["writtenRatio"] is None
    assert table("", [OURS], nothing).rows[1][8] == "–"


def test_the_disk_that_a_folder_takes_is_counted_to_the_bottom(tmp_path: Path) -> None:
    empty = disk_bytes(tmp_path)
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/data").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")

    assert 100_000 <= disk_bytes(tmp_path) - empty < 150_000
    assert disk_bytes(tmp_path / "missing") == 0


def test_the_update_is_one_layer_and_its_bundle_is_small(tmp_path: Path) -> None:
    update = make_update(21, tmp_path)

    (tmp_path / "bundle").write_bytes(update.bundle.data)
    with (tmp_path / "bundle").open("rb") as stream:
        head = read_bundle(stream, None).head
    assert (head.target_image_id, head.source_image_ids) == (update.new.image_id, (update.old.image_id,))
    same = [old == new for old, new in zip(update.old.layers, update.new.layers, strict=True)]
    assert same == [True, False]
    assert len(update.bundle.data) < 20_000
