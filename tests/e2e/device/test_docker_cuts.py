"""A proxy before a real dockerd that cuts, hangs, refuses or answers 500: the job waits, and ends well afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon, Patience
from edge_module.files import DiskFiles
from imagedelta.errors import DependencyError
from tests.e2e.device.docker_place import remove_all, saved
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.engines.place import listed, pulled, sizes_of, write_layers
from tests.engines.suite import noise
from tests.images import an_image, docker_save
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e
BASE = {"lib/base": noise(700_000, 51)}
OLD = an_image(BASE, {"app/code": noise(600_000, 52)}, references=("cut:1",))
NEW = an_image(BASE, {"app/code": noise(600_000, 53)}, {"app/data": noise(300_000, 54)}, references=("cut:2",))
PATIENCE = Patience(ask=2, silence=2, work=20)
BUSY = b'HTTP/1.1 500 Internal Server Error\r\nContent-Length: 24\r\n\r\n{"message":"I am no use"}'[:-1]


@pytest.fixture
def proxy(daemon: DockerDaemon, tmp_path: Path) -> Iterator[TcpProxy]:
    remove_all(daemon)
    daemon.docker("load", stdin=docker_save(OLD))
    with TcpProxy(daemon.socket, listen=tmp_path / "proxy.sock") as proxy:
        yield proxy


def an_engine(tmp_path: Path) -> DockerEngine:
    address = f"unix://{tmp_path}/proxy.sock"
    return DockerEngine(DiskFiles(tmp_path / "module"), Daemon(address, PATIENCE), flush=lambda: None)


def work(engine: DockerEngine) -> None:
    engine.clean()
    if NEW.image_id not in listed(engine):
        with engine.begin(NEW.image_id, "cut:2", sizes_of(NEW), [OLD.image_id]) as session:
            layer = session.find(OLD.image.diff_ids[1])
            assert layer.read_at(1000, 500_000) == OLD.layers[1][1000:501_000]
            write_layers(session, NEW, range(3))
            session.finish(NEW.image.config)
    engine.name_image(NEW.image_id, "cut:2")


def ends_well(daemon: DockerDaemon, tmp_path: Path) -> None:
    work(an_engine(tmp_path))
    assert listed(an_engine(tmp_path)) == {OLD.image_id: ("cut:1",), NEW.image_id: ("cut:2",)}
    assert saved(daemon, "cut:2", tmp_path / "saved.tar") == pulled(NEW)
    for folder in ("docker/ingest", "docker/layers", "docker/loading", "scratch"):
        assert list((tmp_path / "module" / folder).iterdir()) == []


@pytest.mark.parametrize("resets", [True, False])
@pytest.mark.parametrize("after", [0, 100, 1_000, 50_000, 400_000, 1_200_000])
def test_connections_that_break_after_so_many_bytes(
    daemon: DockerDaemon, proxy: TcpProxy, tmp_path: Path, after: int, resets: bool
) -> None:
    proxy.cut_after, proxy.resets = after, resets
    with pytest.raises(DependencyError) as raised:
        work(an_engine(tmp_path))
    assert raised.value.code == "engine.daemon"

    proxy.cut_after = None
    ends_well(daemon, tmp_path)


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.6])
def test_connections_that_break_every_moment(
    daemon: DockerDaemon, proxy: TcpProxy, tmp_path: Path, seconds: float
) -> None:
    proxy.bytes_per_second, proxy.cut_every_seconds = 3_000_000, seconds
    for _ in range(4):
        try:
            work(an_engine(tmp_path))
        except DependencyError as error:
            assert error.code == "engine.daemon"

    proxy.bytes_per_second = proxy.cut_every_seconds = None
    ends_well(daemon, tmp_path)


def test_a_daemon_that_hangs_is_given_up_in_time(daemon: DockerDaemon, proxy: TcpProxy, tmp_path: Path) -> None:
    proxy.hanging = True
    began = time.monotonic()
    with pytest.raises(DependencyError):
        work(an_engine(tmp_path))
    assert time.monotonic() - began < 10

    proxy.hanging = False
    ends_well(daemon, tmp_path)


@pytest.mark.parametrize("answer", [BUSY, b"", b"\0" * 100_000, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"])
def test_a_daemon_that_answers_with_something_else(
    daemon: DockerDaemon, proxy: TcpProxy, tmp_path: Path, answer: bytes
) -> None:
    proxy.answer = answer
    with pytest.raises(DependencyError):
        work(an_engine(tmp_path))

    proxy.answer = None
    ends_well(daemon, tmp_path)


def test_a_daemon_that_refuses(daemon: DockerDaemon, proxy: TcpProxy, tmp_path: Path) -> None:
    proxy.refusing = True
    with pytest.raises(DependencyError):
        work(an_engine(tmp_path))

    proxy.refusing = False
    ends_well(daemon, tmp_path)
