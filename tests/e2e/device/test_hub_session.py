"""The process that talks to the hub, replaced by others that do what it should not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from edge_module import hub_session
from edge_module.hub_session import Session
from imagedelta.errors import DependencyError

pytestmark = pytest.mark.e2e

MISBEHAVIOUR = {
    "says nothing": "import time; time.sleep(600)",
    "reads nothing and says nothing": "import signal; signal.pause()",
    "ends": "",
    "crashes": "raise SystemExit(3)",
    "says something else": "print('Traceback', flush=True); input(); import time; time.sleep(600)",
    "says no object": "print('[1]', flush=True); import time; time.sleep(600)",
    "never ends a line": "import sys\nwhile True: sys.stdout.write('x' * 65536)",
    "ignores that it should end": "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "closes its answers": "import os, time; os.close(1); time.sleep(600)",
    "closes its requests": "import os, time; os.close(0); time.sleep(600)",
}


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Session]:
    def start(program: str) -> Session:
        command = [sys.executable, "-c", program]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        monkeypatch.setattr(hub_session, "_start", lambda: process)
        return Session(lambda: None)

    return start


@pytest.mark.parametrize("way", MISBEHAVIOUR)
def test_whatever_it_does_the_question_ends_and_so_does_the_process(way: str, start: Callable[[str], Session]) -> None:
    session = start(MISBEHAVIOUR[way])
    large = {"do": "send", "body": "x" * 400_000}

    began = time.monotonic()
    with pytest.raises(DependencyError) as caught:
        session.ask(large, 2.0)

    assert time.monotonic() - began < 4
    assert caught.value.code in ("hub.no_answer", "hub.unreachable")
    assert session._process.wait(5) is not None


def test_its_end_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(0.3)"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    monkeypatch.setattr(hub_session, "_start", lambda: process)
    ended = threading.Event()

    session = Session(ended.set)

    assert ended.wait(10)
    assert not session.alive


def test_a_machine_without_room_for_a_process_is_a_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", full)

    with pytest.raises(DependencyError, match="temporarily"):
        Session(lambda: None)
