"""Signals against real processes: no output, no half-written file, no scratch folder is left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.cli_tools import run, start
from tests.images import an_image, descriptor, docker_save

pytestmark = pytest.mark.e2e

BIG = random.Random(5).randbytes(60_000_000)
SMALL = an_image({"lib": BIG[:200_000]}, references=("localhost/small:1",))
OLD = an_image({"lib": BIG}, references=("localhost/big:1",))
NEW = an_image({"lib": BIG[::-1]}, references=("localhost/big:2",))


@pytest.fixture(scope="module", autouse=True)
def _no_nohup() -> Iterator[None]:
    """Commands would ignore a closed terminal, as they should, where the tests themselves were told to."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "old.tar").write_bytes(docker_save(OLD))
    (folder / "new.tar").write_bytes(docker_save(NEW))
    run("diff", "old.tar", "-o", "full.bundle", cwd=folder)
    return folder


@pytest.fixture
def work(tmp_path) -> Path:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("command", ["diff", "apply", "sign"])
def test_a_stopped_command_leaves_nothing(files, work, command, number, code):
    arguments = {
        "diff": ("diff", files / "new.tar", "--source", files / "old.tar"),
        "apply": ("apply", files / "full.bundle"),
        "sign": ("sign", files / "new.tar"),
    }[command]

    process = start(*arguments, "-o", work / "out/file", "--scratch", work / "scratch", cwd=work)
    wait_for_scratch(process, work)

    assert stopped(process, number) == (code, True)
    assert left(work) == []


def test_an_impatient_second_ctrl_c_does_not_leave_the_scratch_behind(files, work):
    process = start("sign", files / "new.tar", "-o", work / "out/file", "--scratch", work / "scratch", cwd=work)
    wait_for_scratch(process, work)

    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)

    assert (stopped(process, signal.SIGINT)[0], left(work)) == (130, [])


def test_a_stop_while_a_daemon_sends_leaves_nothing(work, daemon):
    daemon.docker("load", stdin=docker_save(OLD))
    arguments = ("diff", "docker://localhost/big:1", "-o", work / "out/file", "--scratch", work / "scratch")
    process = start(*arguments, cwd=work, env=daemon.env)
    wait_for_scratch(process, work)

    assert (stopped(process, signal.SIGTERM)[0], left(work)) == (143, [])


@pytest.fixture
def trickle() -> Iterator[str]:
    """A registry whose layer never comes to its end."""
    config = SMALL.image.config
    layer = descriptor("application/vnd.oci.image.layer.v1.tar", SMALL.layers[0])
    described = descriptor("application/vnd.oci.image.config.v1+json", config)
    manifest = json.dumps({"schemaVersion": 2, "config": described, "layers": [layer]}).encode()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            if "manifests" in self.path:
                self.wfile.write(manifest)
            elif SMALL.image_id in self.path:
                self.wfile.write(config)
            else:
                self.wfile.write(SMALL.layers[0][:70_000])
                ended.wait(60)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"registry://127.0.0.1:{server.server_address[1]}/app"
    ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("command", ["diff", "sign"])
def test_a_stop_while_a_registry_sends_leaves_nothing(work, trickle, command):
    process = start(command, trickle, "-o", work / "out/file", "--scratch", work / "scratch", cwd=work)
    wait_for_scratch(process, work)
    time.sleep(0.5)

    assert (stopped(process, signal.SIGINT)[0], left(work)) == (130, [])


def wait_for_scratch(process: subprocess.Popen[str], work: Path) -> None:
    """Until the command has begun to write; fails when it ends before."""
    for _ in range(20_000):
        if any((work / "scratch").iterdir()):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    pytest.fail("nothing was begun")


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, bool]:
    """Send the signal; return the exit code and whether the command says that nothing is left."""
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, "Nothing was left half-done" in err


def left(work: Path) -> list[str]:
    """Every file and folder that is not one of the test's own."""
    return sorted(path.name for path in work.rglob("*") if path.name not in ("scratch", "out"))
