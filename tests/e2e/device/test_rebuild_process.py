"""A rebuild in a process of its own: whatever becomes of that process, the module stays, and so does the bundle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge_module.engines import PresentImage
from edge_module.rebuild_process import RebuildProcess, Surroundings
from edge_module.rebuilds import RebuildTask
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, SourceMissing
from tests.e2e.host_process import wait_for
from tests.unit.edge.world import make_bundle

pytestmark = pytest.mark.e2e
MIB = 1024 * 1024
TASK = RebuildTask("inbox/one.bundle", make_bundle().head, "app:2", 96 * MIB)
IMAGE = PresentImage("sha256:" + "1" * 64, (), ())

CHILD = """
import os, signal, sys, time
sys.argv[:1] = ["x"]
from edge_module.background import settle
settle(sys.argv)
from edge_module.engines import PresentImage
from edge_module.rebuild_child import serve_stdio
from imagedelta.errors import *
IMAGE = PresentImage("sha256:" + "1" * 64, (), ())
class Rebuilds:
    def rebuild(self, task, begun):
        {body}
    def stop(self):
        pass
serve_stdio(Rebuilds())
"""


def a_process(body: str, alive: threading.Event | None = None, inherited: tuple[int, ...] = ()) -> RebuildProcess:
    """Its child does ``body`` instead of rebuilding."""
    code = CHILD.replace("{body}", body.strip().replace("\n", "\n        "))
    surroundings = Surroundings(dict(os.environ), inherited, (sys.executable, "-c", code))
    return RebuildProcess(surroundings, alive.set if alive else lambda: None)


def rebuilt(body: str) -> PresentImage:
    return a_process(body).rebuild(TASK, lambda: None)


def failure(body: str) -> ImageDeltaError:
    with pytest.raises(ImageDeltaError) as caught:
        rebuilt(body)
    return caught.value


def test_the_image_and_the_begin_are_told() -> None:
    begun: list[bool] = []

    image = a_process("begun(); print('noise'); return IMAGE").rebuild(TASK, lambda: begun.append(True))

    assert (image, begun) == (IMAGE, [True])


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ("raise SourceMissing('x', code='source.different')", SourceMissing, "source.different"),
        ("raise ContentError('x')", ContentError, "content.invalid"),
        ("raise DependencyError('x', code='disk.full')", DependencyError, "disk.full"),
        ("raise OSError(5, 'I/O error')", DependencyError, "disk.failing"),
        ("raise ValueError('x')", ImageDeltaError, "internal"),
        ("bytearray(200 << 20)", DependencyError, "rebuild.memory"),
        ("raise MemoryError", DependencyError, "rebuild.memory"),
        ("os.kill(os.getpid(), signal.SIGKILL)", DependencyError, "rebuild.memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", DependencyError, "rebuild.died"),
        ("os._exit(0)", DependencyError, "rebuild.died"),
        ("sys.exit(3)", DependencyError, "rebuild.died"),
        ("begun(); begun(); time.sleep(99)", DependencyError, "rebuild.died"),
        ("os.closerange(3, 99); time.sleep(99)", DependencyError, "rebuild.died"),
        ("for fd in range(3, 99):\n    try: os.write(fd, b'x' * 9 + b'\\n')\n    except OSError: pass\ntime.sleep(99)",
         DependencyError, "rebuild.died"),
    ],
)  # fmt: skip
def test_what_befalls_the_child_is_told_by_its_code_and_never_the_fault_of_the_bundle(
    body: str, kind: type[ImageDeltaError], code: str
) -> None:
    error = failure(body)

    assert (type(error), error.code) == (kind, code)


def test_what_dies_is_not_begun_again_at_once(tmp_path: Path) -> None:
    process = a_process(f"open({str(tmp_path / 'begun')!r}, 'a').write('x'); os._exit(1)")

    for _ in range(3):
        with pytest.raises(DependencyError) as caught:
            process.rebuild(TASK, lambda: None)
        assert caught.value.code == "rebuild.died"

    assert (tmp_path / "begun").read_text() == "x"


def test_a_program_that_does_not_start_is_waited_for() -> None:
    process = RebuildProcess(Surroundings({}, (), ("/nowhere/python",)), lambda: None)

    with pytest.raises(DependencyError) as caught:
        process.rebuild(TASK, lambda: None)

    assert caught.value.code == "rebuild.died"


def test_content_that_seems_wrong_for_want_of_memory_is_looked_at_again_without_the_limit() -> None:
    """Brotli and zstd call a stream damaged when they get no memory for it."""
    body = """
begun()
try:
    bytearray(200 << 20)
except MemoryError:
    raise ContentError("damaged Brotli stream: out of memory")
return IMAGE
"""
    assert rebuilt(body) == IMAGE


def test_a_child_is_the_last_in_line_and_the_first_to_go() -> None:
    status = """
import subprocess
raise DependencyError(" ".join([
    str(os.nice(0)),
    open("/proc/self/oom_score_adj").read().strip(),
    str(IOPRIO()),
]))
""".replace("IOPRIO()", "__import__('ctypes').CDLL(None).syscall(252, 1, 0)")
    # 252 is ioprio_get on x86-64, which the tests run on; 3 << 13 is the idle class.
    assert str(failure(status)) == f"19 1000 {3 << 13}"


def test_nothing_is_left_open_by_rebuilds_however_they_end() -> None:
    process = a_process("os._exit(1) if os.getpid() % 2 else None; return IMAGE")
    with suppress(DependencyError):
        process.rebuild(TASK, lambda: None)
    before = list(Path("/proc/self/fd").iterdir())

    for number in range(8):
        task = replace(TASK, head=replace(TASK.head, target_image_id=f"sha256:{number:064x}"))
        with suppress(DependencyError):
            process.rebuild(task, lambda: None)

    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)
    assert children() == []


def test_one_image_is_rebuilt_at_a_time() -> None:
    process = a_process("time.sleep(0.3); return IMAGE")
    threads = [threading.Thread(target=process.rebuild, args=(TASK, lambda: None)) for _ in range(2)]
    most = 0

    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(children()))
        time.sleep(0.02)

    assert most == 1


def test_a_rebuild_that_runs_ends_within_a_second_when_it_is_stopped() -> None:
    alive = threading.Event()
    process = a_process("time.sleep(99)", alive)
    errors: list[ImageDeltaError] = []

    def rebuild() -> None:
        try:
            process.rebuild(TASK, lambda: None)
        except ImageDeltaError as error:
            errors.append(error)

    thread = threading.Thread(target=rebuild)
    thread.start()
    assert alive.wait(10)
    started = time.monotonic()
    process.stop()
    thread.join(10)

    assert time.monotonic() - started < 1
    assert [error.code for error in errors] == ["rebuild.stopped"]
    assert children() == []


def test_after_a_stop_the_next_rebuild_runs() -> None:
    process = a_process("return IMAGE")

    process.stop()

    assert process.rebuild(TASK, lambda: None) == IMAGE


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_module.rebuild_process.SILENT_SECONDS", 2.0)

    assert failure("time.sleep(99)").code == "rebuild.died"


def test_a_child_that_works_is_not_taken_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_module.rebuild_process.SILENT_SECONDS", 2.0)

    assert rebuilt("end = time.monotonic() + 5\nwhile time.monotonic() < end: pass\nreturn IMAGE") == IMAGE


PARENT = """
import os, sys, threading
from pathlib import Path
from edge_module.files import RootLock
from tests.e2e.device.test_rebuild_process import TASK, a_process
with RootLock(Path(sys.argv[1])) as lock:
    process = a_process("time.sleep(99)", inherited=(lock.fileno(),))
    threading.Thread(target=process.rebuild, args=(TASK, lambda: None), daemon=True).start()
    threading.Event().wait()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    yield process
    process.kill()
    process.wait()


def test_the_child_ends_with_its_parent_however_that_ends(parent: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: children(parent.pid) != [])
    (child,) = children(parent.pid)
    wait_for(lambda: "settle" in Path(f"/proc/{child}/cmdline").read_text() and nice_of(child) == 19)

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    wait_for(lambda: not Path(f"/proc/{child}").exists(), 2)


def nice_of(process: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, process)


def children(of: int | None = None) -> list[int]:
    """Rebuilds only: the daemons of other tests are children of this process, too."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = status.read_text().rpartition(")")[2].split()
            is_rebuild = "settle" in (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(after[1]) == (of or os.getpid()) and after[0] != "Z" and is_rebuild:
            found.append(int(status.parent.name))
    return found
