"""Every command that talks to a host, against every host that is not what it should be.

Whatever answers, a command ends, with a code that a pipeline can rely on and an error that says what to do; it never
ends as a defect of its own.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from imagedelta_cli import api_client, api_options, downloading, exits
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.commands import logs
from imagedelta_cli.main import cli, run

ORDER = ("--name", "n", "--owner", "Ada", "--email", "a@example.org", "--device", "boat", "--image", "app:2")
COMMANDS: dict[str, tuple[str, ...]] = {
    "register": ("register", "ARCHIVE"),
    "plan": ("plan", *ORDER, "--all"),
    "deploy": ("deploy", *ORDER, "--wait", "--timeout", "0"),
    "status": ("status", "set-1", "--watch", "--timeout", "0"),
    "approve": ("approve", "set-1"),
    "cancel": ("cancel", "set-1", "--yes"),
    "release": ("release", "set-1"),
    "retry": ("retry", "set-1", "boat"),
    "rollback": ("rollback", "set-1"),
    "explain": ("explain", "boat"),
    "export": ("export", "boat", "-o", "stick"),
    "logs": ("logs", "set-1"),
    "audit": ("audit",),
    "quarantine": ("quarantine",),
    "advise": ("advise", "--fleet", "app:2"),
    "sets list": ("sets", "list"),
    "sets members": ("sets", "members", "set-1"),
    "sets promote": ("sets", "promote", "set-1"),
    "sets exclude": ("sets", "exclude", "set-1", "boat", "--yes"),
    "sets rebase": ("sets", "rebase", "set-1", "boat"),
    "sets skip": ("sets", "skip", "set-1", "boat", "--yes"),
    "images list": ("images", "list"),
    "images show": ("images", "show", "abc"),
    "images devices": ("images", "devices", "abc"),
    "devices list": ("devices", "list"),
    "devices show": ("devices", "show", "boat"),
    "devices images": ("devices", "images", "boat"),
    "devices enrol": ("devices", "enrol", "boat", "--hub", "north"),
    "devices rebind": ("devices", "rebind", "boat", "--hub", "north"),
    "devices connect": ("devices", "connect", "boat"),
    "devices retire": ("devices", "retire", "boat", "--yes"),
    "devices replace": ("devices", "replace", "boat", "--yes"),
    "devices resync": ("devices", "resync", "boat"),
    "transfers list": ("transfers", "list"),
    "transfers timeseries": ("transfers", "timeseries"),
    "transfers patches": ("transfers", "patches"),
}
Serve = Callable[[httpx.Request], httpx.Response]


class _Stream(httpx.SyncByteStream):
    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()


def _endless() -> Iterator[bytes]:
    while True:
        yield b" " * (1 << 22)


def _breaks_off() -> Iterator[bytes]:
    yield b'{"items": ['
    raise httpx.RemoteProtocolError("peer closed connection")


def _html(status: int, **headers: str) -> Serve:
    return lambda request: httpx.Response(status, html="<html>Sign in</html>", headers=headers)


def _problem(status: int, **headers: str) -> Serve:
    said = {"code": "caller.role", "detail": "Not you.", "remedy": "Ask.", "title": "", "status": status}
    kind = {"content-type": "application/problem+json", **headers}
    return lambda request: httpx.Response(status, content=json.dumps(said).encode(), headers=kind)


def _json(said: Any) -> Serve:
    return lambda request: httpx.Response(200, json=said)


def _text(text: bytes) -> Serve:
    return lambda request: httpx.Response(200, content=text, headers={"content-type": "application/json"})


def _fails(error: Exception) -> Serve:
    def serve(request: httpx.Request) -> httpx.Response:
        raise error

    return serve


def _streams(pieces: Callable[[], Iterator[bytes]], **headers: str) -> Serve:
    kind = {"content-type": "application/json", **headers}
    return lambda request: httpx.Response(200, stream=_Stream(pieces), headers=kind)


_MOST_BYTES = 1 << 20
"""Of an answer, in these tests: so that they take seconds."""
BOMB = gzip.compress(bytes(4 * _MOST_BYTES), 1)
WRONG_KINDS = (
    "deviceCount",
    "totalBytes",
    "needsApproval",
    "states",
    "state",
    "code",
    "detail",
    "images",
    "devices",
    "bundles",
    "setId",
    "uploadId",
    "url",
    "registrationId",
)
REFUSED: dict[str, tuple[Serve, int]] = {
    "a page to sign in": (_html(200), exits.REFUSED),
    "a redirect to one": (_html(302, Location="https://login.example.org/"), exits.REFUSED),
    "401": (_html(401), exits.REFUSED),
    "403 of a firewall": (_html(403), exits.REFUSED),
    "403 of the host": (_problem(403), exits.REFUSED),
    "404 of something else": (_html(404), exits.REFUSED),
    "404 of the host": (_problem(404), exits.REFUSED),
    "500": (_html(500), exits.REFUSED),
    "429": (_problem(429, **{"Retry-After": "7"}), exits.UNAVAILABLE),
    "429 for a year": (_html(429, **{"Retry-After": "31536000"}), exits.UNAVAILABLE),
    "429 with a date": (_html(429, **{"Retry-After": "Wed, 21 Oct 2035 07:28:00 GMT"}), exits.UNAVAILABLE),
    "503": (_html(503), exits.UNAVAILABLE),
    "a hang": (_fails(httpx.ReadTimeout("timed out")), exits.UNAVAILABLE),
    "nobody there": (_fails(httpx.ConnectError("refused")), exits.UNAVAILABLE),
    "an answer that breaks off": (_streams(_breaks_off), exits.UNAVAILABLE),
    "an endless answer": (_streams(_endless), exits.REFUSED),
    "a packed flood": (_streams(lambda: iter([BOMB]), **{"content-encoding": "gzip"}), exits.REFUSED),
    "bytes that are not packed": (_streams(lambda: iter([b"no"]), **{"content-encoding": "gzip"}), exits.UNAVAILABLE),
    "nothing": (_text(b""), exits.REFUSED),
    "half of a document": (_text(b'{"items": [{"setId"'), exits.REFUSED),
    "a deep document": (_text(b"[" * 200_000), exits.REFUSED),
    "another encoding": (_text("{}".encode("utf-16")), exits.REFUSED),
    "null": (_json(None), exits.REFUSED),
    "a list": (_json([]), exits.REFUSED),
}
ODD: dict[str, Serve] = {
    "an old host without any field": _json({}),
    "lists of nothing that never end": _json({"items": [], "next": "again"}),
    "items without fields": _json({"items": [{}], "next": None}),
    "numbers for texts": _json({"items": 5, "next": 5, **dict.fromkeys(WRONG_KINDS, 5)}),
    "texts for lists": _json({"items": "text", "next": "text", **dict.fromkeys(WRONG_KINDS, "text")}),
    "lists for texts": _json({"items": [[]], "next": [], **{key: [] for key in WRONG_KINDS}}),
    "nulls": _json({"items": None, "next": None, **dict.fromkeys(WRONG_KINDS)}),
}


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long commands wanted to wait; time goes on by that."""
    waited: list[float] = []
    for module in (api_client, api_options, downloading, logs):
        monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


@pytest.fixture
def calling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asleep: list[float]
) -> Callable[[Serve, tuple[str, ...]], int]:
    (tmp_path / "app.tar").write_bytes(b"archive")
    monkeypatch.setattr(api_client, "_MAX_ANSWER_BYTES", _MOST_BYTES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEDELTA_URL", "http://host")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def call(serve: Serve, arguments: tuple[str, ...]) -> int:
        def api(endpoint: Endpoint) -> Api:
            return Api(endpoint, client=httpx.Client(transport=httpx.MockTransport(serve), trust_env=False), pause=0)

        monkeypatch.setattr(api_options, "Api", api)
        return run([argument.replace("ARCHIVE", "app.tar") for argument in arguments])

    return call


def test_the_table_has_every_command_that_talks_to_a_host() -> None:
    assert set(COMMANDS) == set(_with_url(cli))


def _with_url(group: click.Group, *before: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _with_url(command, *before, name)
        elif command and any("--url" in parameter.opts for parameter in command.params):
            yield " ".join((*before, name))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("hostile", REFUSED)
def test_a_host_that_does_not_answer_as_one_is_told_with_what_to_do(
    calling: Any, capsys: pytest.CaptureFixture[str], hostile: str, command: str
) -> None:
    serve, expected = REFUSED[hostile]

    code = calling(serve, (*COMMANDS[command], "--json"))

    out, err = capsys.readouterr()
    told = json.loads(err.splitlines()[-1])
    assert (code, told["exitCode"], out) == (expected, expected, "")
    assert told["error"]["code"] not in ("internal", "cli.old_host")
    assert told["error"]["detail"] and told["error"]["remedy"]


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "table"])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("odd", ODD)
def test_an_answer_that_lacks_what_a_command_shows_is_no_defect(
    calling: Any, capsys: pytest.CaptureFixture[str], odd: str, command: str, as_json: bool
) -> None:
    code = calling(ODD[odd], (*COMMANDS[command], *(["--json"] if as_json else [])))

    err = capsys.readouterr().err
    assert code in (exits.DONE, exits.REFUSED, exits.UNAVAILABLE, exits.STILL_UNDER_WAY)
    assert "internal" not in err and "Traceback" not in err
    assert code == exits.DONE or "code" in err


@pytest.mark.parametrize("hostile", ["429", "429 for a year"])
def test_a_busy_host_is_left_alone_as_long_as_it_asks_within_reason(
    calling: Any, asleep: list[float], hostile: str
) -> None:
    calling(REFUSED[hostile][0], COMMANDS["sets list"])

    assert asleep == [{"429": 7, "429 for a year": 20}[hostile]] * 3
