"""The adapter to the local hub: headers, tokens, and which answers heal."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from urllib.parse import parse_qs, quote_plus

import httpx
import pytest

from edge_module.hub import Envelope
from edge_module.hub_local import LocalHub
from edge_module.sas_token import connection_from_text
from imagedelta.errors import ContentError, DependencyError, RequestError

CONNECTION = connection_from_text("HostName=http://h:7071/iothub/n;DeviceId=d 1;ModuleId=m;SharedAccessKey=a2V5")


class Answering(httpx.BaseTransport):
    def __init__(self, status: int = 204, content: bytes = b"") -> None:
        self.status, self.content = status, content
        self.headers: dict[str, str] = {}
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        if self.status == 0:
            raise httpx.ConnectError("down", request=request)
        return httpx.Response(self.status, stream=httpx.ByteStream(self.content), headers=self.headers)


def hub(transport: Answering) -> LocalHub:
    return LocalHub(CONNECTION, httpx.Client(transport=transport), now=lambda: 1000.0)


def test_a_message_carries_its_id_kind_and_encoding() -> None:
    transport = Answering()

    hub(transport).send(Envelope("inventory:a:1", "inventory", b"\x1f\x8b", content_encoding="gzip"))

    request = transport.requests[0]
    assert str(request.url) == "http://h:7071/iothub/n/devices/d%201/modules/m/messages/events"
    assert request.content == b"\x1f\x8b"
    wanted = {
        "iothub-messageid": "inventory:a:1",
        "iothub-app-kind": "inventory",
        "iothub-contentencoding": "gzip",
        "iothub-contenttype": "application/json",
    }
    assert {name: request.headers[name] for name in wanted} == wanted


def test_the_token_is_what_azure_computes() -> None:
    transport = Answering()

    hub(transport).send(Envelope("1", "report", b"{}"))

    fields = parse_qs(transport.requests[0].headers["authorization"].removeprefix("SharedAccessSignature "))
    assert fields["sr"] == ["h:7071/iothub/n/devices/d 1/modules/m"]
    assert fields["se"] == ["4600"]
    signed = f"{quote_plus(fields['sr'][0])}\n4600".encode()
    assert fields["sig"] == [base64.b64encode(hmac.new(b"key", signed, hashlib.sha256).digest()).decode()]


@pytest.mark.parametrize("status", [0, 401, 403, 404, 429, 500, 503])
def test_what_can_heal_is_tried_again(status: int) -> None:
    with pytest.raises(DependencyError):
        hub(Answering(status)).send(Envelope("1", "report", b"{}"))


@pytest.mark.parametrize("status", [400, 413])
def test_what_will_never_be_taken_is_refused(status: int) -> None:
    with pytest.raises(RequestError) as caught:
        hub(Answering(status)).send(Envelope("1", "report", b"{}"))
    assert caught.value.code == "hub.refused"


def test_the_desired_properties_come_from_the_twin() -> None:
    twin = {"desired": {"paused": True, "resync": 3, "new": 1, "$version": 9}, "reported": {}}

    desired = hub(Answering(200, json.dumps(twin).encode())).desired()

    assert (desired.paused, desired.resync, desired.poll_every_seconds) == (True, 3, 60)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"desired": {"pollEverySeconds": 0}}', ContentError),
        (b'{"desired": {"outbox": {"url": 1}}}', ContentError),
        (b"<html>", DependencyError),
        (b"[]", DependencyError),
    ],
)
def test_a_twin_that_breaks_the_contract_is_told(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        hub(Answering(200, content)).desired()


def test_an_endless_answer_is_cut_off() -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                self.given += 65_536
                yield bytes(65_536)

        given = 0

    stream = Endless()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=stream))

    with pytest.raises(DependencyError, match="more than"):
        LocalHub(CONNECTION, httpx.Client(transport=transport)).desired()
    assert stream.given <= 512 * 1024


def test_a_clock_at_1970_is_set_right_by_the_hubs_own() -> None:
    """The hub takes a token that ends in its future, and tells the time with every answer."""
    ends: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        ends.append(int(parse_qs(request.headers["authorization"])["se"][0]))
        date = {"date": "Sun, 29 Nov 2026 12:00:00 GMT"}
        status = 204 if ends[-1] > 1_795_953_600 else 401
        return httpx.Response(status, headers=date, stream=httpx.ByteStream(b""))

    wrong = LocalHub(CONNECTION, httpx.Client(transport=httpx.MockTransport(answer)), now=lambda: 100.0)
    for _ in range(2):
        wrong.send(Envelope("1", "report", b"{}"))

    assert ends == [3700, 1_795_957_200, 1_795_957_200]


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 29 Nov 9999999 12:00:00 GMT"])
def test_a_refusal_that_tells_no_time_is_no_reason_to_ask_again(date: str | None) -> None:
    transport = Answering(401)
    transport.headers = {} if date is None else {"date": date}

    with pytest.raises(DependencyError) as caught:
        hub(transport).send(Envelope("1", "report", b"{}"))

    assert (caught.value.code, len(transport.requests)) == ("hub.denied", 1)


def test_what_a_twin_would_not_take_is_spelt_out() -> None:
    transport = Answering()

    hub(transport).report_properties({"refusals": [{"bundle": "\ud800\x00"}]})

    assert json.loads(transport.requests[0].content) == {"refusals": [{"bundle": "\\ud800\\x00"}]}


@pytest.mark.parametrize("message_id", ["transfer\r\nx-y: z:1:1", "\ud800", "ä", "x" * 200])
def test_an_id_that_no_header_holds_travels_as_its_digest(message_id: str) -> None:
    transport = Answering()

    hub(transport).send(Envelope(message_id, "report", b"{}"))

    assert transport.requests[0].headers["iothub-messageid"].startswith("sha256:")
    assert "x-y" not in transport.requests[0].headers
