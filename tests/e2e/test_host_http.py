"""HTTP functions in a running host: routes, what functions are told, and answers that would break a connection."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.e2e.host_process import APPS, HostProcess

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    running = HostProcess(tmp_path_factory.mktemp("http") / "state", APPS / "http").start()
    yield running
    running.stop()


def raw(host: HostProcess, request: bytes) -> bytes:
    """Send bytes as they are; what comes back until the end of the connection."""
    address = urlsplit(host.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def get(host: HostProcess, path: str, **options: Any) -> httpx.Response:
    return httpx.get(host.url + path, timeout=20, **options)


def test_the_first_function_by_name_answers_where_routes_overlap(host: HostProcess) -> None:
    assert get(host, "/api/order/exact").text == "general"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/items/7", {"id": "7", "page": "1"}),
        ("/api/ITEMS/7/3/", {"id": "7", "page": "3"}),
        ("/api/items/0", None),
        ("/api/items/x", None),
        ("/api/items/7/x", None),
        ("/api/files/a/b%20c", {"path": "a/b c"}),
        ("/api/files", {}),
    ],
)
def test_constraints_defaults_and_the_rest_of_a_path(
    host: HostProcess, path: str, answer: dict[str, str] | None
) -> None:
    response = get(host, path)

    assert (response.status_code, response.json() if answer is not None else None) == (
        200 if answer is not None else 404,
        answer,
    )


def test_what_came_twice_is_joined_and_empty_parameters_are_dropped(host: HostProcess) -> None:
    headers = [("X-Two", "a"), ("x-two", "b"), ("X-Empty", "")]
    told = get(host, "/api/echo?a=1&b=&A=2&c&d=x%20y&a=", headers=headers).json()

    assert told["params"] == {"a": "1,2", "d": "x y"}
    assert (told["headers"]["x-two"], told["headers"]["x-empty"]) == ("a,b", "")


def test_the_trace_of_a_request_is_passed_on(host: HostProcess) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    told = get(host, "/api/echo", headers={"traceparent": parent, "tracestate": "a=b"}).json()

    assert told["trace"] == [parent, "a=b"]
    assert get(host, "/api/echo").json()["trace"] == ["", ""]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/api/out", 201, "set"),
        ("/api/out?nothing=1", 200, ""),
        ("/api/both", 200, "returned"),
        ("/api/none", 500, ""),
        ("/api/number", 500, ""),
        ("/api/status?code=99", 500, ""),
        ("/api/status?code=101", 500, ""),
        ("/api/status?code=204", 204, ""),
        ("/api/status?code=599", 599, "body"),
        ("/api/exits/exit", 500, ""),
        ("/api/exits/cancel", 500, ""),
        ("/api/exits-sync", 500, ""),
    ],
)
def test_what_a_function_sets_returns_or_raises_is_answered(
    host: HostProcess, path: str, status: int, text: str
) -> None:
    response = get(host, path)

    assert (response.status_code, response.text) == (status, text)


def test_cookies_are_sent_one_by_one(host: HostProcess) -> None:
    sent = get(host, "/api/cookies").headers.get_list("set-cookie")

    assert sorted(sent) == ["a=1; Path=/; SameSite=Strict", "b=2; HttpOnly"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "3"},
        {"content-length": "3000"},
        {"Content-Length": "-1"},
        {"Content-Length": "abc"},
        {"Transfer-Encoding": "chunked"},
        {"TRANSFER-encoding": "gzip, chunked", "Content-Length": "5"},
        {"Connection": "close"},
        {"Upgrade": "h2c", "Connection": "Upgrade"},
        {"Trailer": "X"},
    ],
)
def test_an_answer_with_wrong_framing_harms_no_other_request(host: HostProcess, headers: dict[str, str]) -> None:
    with httpx.Client(base_url=host.url, timeout=20) as client:
        first = client.get(f"/api/framing?headers={quote(json.dumps(headers))}")
        second = client.get("/api/out")

    assert (first.status_code, first.text) == (200, "ten bytes!")
    assert (second.status_code, second.text) == (201, "set")


def test_head_tells_the_length_that_the_function_says(host: HostProcess) -> None:
    response = httpx.head(f"{host.url}/api/framing?headers={quote(json.dumps({'Content-Length': '10'}))}")

    assert (response.status_code, response.headers["content-length"], response.content) == (200, "10", b"")


@pytest.mark.parametrize("headers", [{"X": "a\r\nInjected: yes"}, {"X y": "a"}, {"X": "a\x00"}])
def test_a_header_that_cannot_be_sent_is_an_error_of_the_function(host: HostProcess, headers: dict[str, str]) -> None:
    response = get(host, f"/api/framing?headers={quote(json.dumps(headers))}")

    assert (response.status_code, "injected" in response.headers) == (500, False)


@pytest.mark.parametrize(
    "target",
    [
        b"/api/keyed",
        b"/api/keyed?code=%FF%FE",
        b"/admin/host/status",
        b"/admin/functions",
        b"/runtime/webhooks/durabletask/instances",
        b"/runtime/webhooks/durabletask/instances?code=%FF",
        b"/blobs/intake/x?sp=r&se=2030-01-01&sr=b&sig=%FF%FE",
        b"/blobs/intake?restype=container&comp=list&sig=%FF&sp=l&se=2&sr=c",
        b"/iothub/north/devices/d",
        b"/iothub/north/devices/d/twin",
    ],
)
def test_keys_and_signatures_that_are_no_utf8_open_nothing_and_break_nothing(host: HostProcess, target: bytes) -> None:
    request = b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx-functions-key: \xff\xfe\r\n" % target
    request += b"Authorization: SharedAccessSignature sr=x&sig=\xff&se=9\xff&skn=iothubowner\r\n\r\n"

    status = int(raw(host, request).split(b" ", 2)[1])

    assert status in (400, 401, 403, 404)


def test_a_header_that_is_no_utf8_reaches_a_function_as_text(host: HostProcess) -> None:
    answer = raw(host, b"GET /api/echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Odd: a\xffb\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["headers"]["x-odd"] == "a\ufffdb"


def test_anyone_may_ask_whether_the_host_answers(host: HostProcess) -> None:
    assert httpx.get(f"{host.url}/admin/host/ping").status_code == 200
    assert httpx.post(f"{host.url}/admin/host/ping").status_code == 200
    assert "up and running" in httpx.get(host.url).text


def test_the_home_page_can_be_switched_off(tmp_path: Path) -> None:
    quiet = HostProcess(tmp_path / "state", APPS / "http", AzureWebJobsDisableHomepage="true").start()
    try:
        assert httpx.get(quiet.url).status_code == 204
    finally:
        quiet.stop()


def test_health_shows_the_loops_of_the_host(host: HostProcess) -> None:
    status = host.admin("GET", "/admin/host/status").json()

    assert (status["state"], status["errors"]) == ("Running", [])
    assert [(loop["name"], loop["state"], loop["restarts"]) for loop in status["loops"]] == [
        ("durable engine", "running", 0)
    ]
