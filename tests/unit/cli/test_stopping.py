"""Ctrl-C tells what remains true: what goes on elsewhere, or that nothing was left half-done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta_cli import api_options, exits
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.main import run
from tests.images import an_image, docker_save
from tests.unit.cli.test_api_commands import ORDER, SET


@pytest.fixture
def stopped_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """A host during whose answer to a request somebody presses Ctrl-C."""
    monkeypatch.chdir(tmp_path)
    Path("app.tar").write_bytes(docker_save(an_image({"a": b"1"}, references=("app:1",))))

    def serve(method: str, path: str) -> None:
        answers: dict[str, Any] = {
            "/api/uploads": {
                "uploadId": "u",
                "url": "http://h/put",
                "method": "PUT",
                "headers": {},
                "maxBytes": 1 << 30,
            },
            "/api/images": {"registrationId": "r-1", "state": "queued"},
        }

        def handle(request: httpx.Request) -> httpx.Response:
            if (request.method, request.url.path) == (method, path):
                raise KeyboardInterrupt
            return httpx.Response(200, content=json.dumps(answers.get(request.url.path, SET)))

        client = httpx.Client(transport=httpx.MockTransport(handle))
        monkeypatch.setattr(api_options, "Api", lambda endpoint: Api(Endpoint("http://h", "k"), client=client))
        monkeypatch.setenv("IMAGEDELTA_URL", "http://h")

    return serve


REMAINS = [
    (["status", "set-1", "--watch"], "GET /api/deployment-sets/set-1", "goes on without you: imagedelta status set-1"),
    (
        ["deploy", *ORDER, "--image", "a:1", "--wait"],
        "GET /api/deployment-sets/set-1",
        "imagedelta status set-1",
    ),
    (["deploy", *ORDER, "--image", "a:1"], "POST /api/deployment-sets", "may have done it"),
    (["cancel", "set-1", "--yes"], "POST /api/deployment-sets/set-1/cancel", "may have done it"),
    (["register", "app.tar"], "PUT /put", "Nothing is registered."),
    (["register", "app.tar"], "GET /api/images/registrations/r-1", "goes on reading it"),
    (["sets", "list"], "GET /api/deployment-sets", "Nothing was left half-done."),
]


@pytest.mark.parametrize(("arguments", "request_", "remains"), REMAINS, ids=lambda value: str(value)[:40])
def test_what_a_stop_does_not_undo_is_told(stopped_at, capsys, arguments, request_, remains) -> None:
    stopped_at(*request_.split())

    assert run(arguments) == exits.INTERRUPTED

    said = capsys.readouterr().err
    assert "Interrupted." in said
    assert remains in said
    assert ("Nothing was left half-done." in said) == (remains == "Nothing was left half-done.")


def test_a_pipe_that_got_a_part_is_told_of(tmp_path, monkeypatch, capsysbinary) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("app.tar").write_bytes(docker_save(an_image({"a": b"1"}, references=("app:1",))))
    monkeypatch.setattr("imagedelta_cli.commands.diff._copy", interrupted)

    assert run(["diff", "app.tar", "-o", "-"]) == exits.INTERRUPTED

    assert b"What was written to stdout is not whole." in capsysbinary.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_that_meets_a_finalizer_is_not_lost(number: signal.Signals) -> None:
    """Python drops what is raised there; a command went on as if nobody had asked."""
    script = f"""
import os, time
from imagedelta_cli import stopping
stopping.stop_in_good_order()
class Dying:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        for _ in range(1000):
            pass
try:
    Dying()
    time.sleep(30)
except stopping.Stopped as stopped:
    print(stopped.number)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)

    assert ended.stdout == f"{int(number)}\n"
    assert "Traceback" not in ended.stderr
