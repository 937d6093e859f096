"""Events at a real HTTP server: signed so that the official library believes them, and tried again as it asks."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from services.http_bounded import bounded_client
from services.notices.webhook_http import HttpWebhook
from services.ports import Event
from services.settings import load_settings

OLD, NEW = "whsec_" + "b2xk" * 10, "whsec_" + "bmV3" * 10
EVENT = Event("notification-1", "March has failed", json.dumps({"type": "deployment_set.failed", "data": "ä"}))


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; answers with what ``answers`` hold, then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?key=canary"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status, headers, said = self.server.answers.pop(0) if self.server.answers else (204, {}, b"")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def webhook(url: str, secret: str = NEW, seconds: float = 5) -> HttpWebhook:
    settings = load_settings({"IMAGEDELTA_WEBHOOK_URL": url, "IMAGEDELTA_WEBHOOK_SECRET": secret}).webhook
    assert settings is not None
    return HttpWebhook(settings, client=bounded_client(seconds))


def refusal(receiver: Receiver, status: int, said: bytes = b"", **headers: str) -> ImageDeltaError:
    receiver.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, said))
    with pytest.raises(ImageDeltaError) as caught:
        webhook(receiver.url).post(EVENT)
    return caught.value


def test_the_official_library_believes_an_event_and_no_changed_one(receiver: Receiver) -> None:
    webhook(receiver.url).post(EVENT)

    [(path, headers, body)] = receiver.requests
    assert (path, headers["content-type"], headers["webhook-id"]) == (
        "/hook?key=canary",
        "application/json",
        EVENT.event_id,
    )
    assert Verifier(NEW).verify(body, headers) == json.loads(EVENT.text)
    for changed in (body + b" ", body.replace(b"failed", b"passed")):
        with pytest.raises(WebhookVerificationError):
            Verifier(NEW).verify(changed, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(NEW).verify(body, headers | {"webhook-id": "notification-2"})


def test_while_a_secret_is_changed_the_old_and_the_new_one_fit(receiver: Receiver) -> None:
    webhook(receiver.url, f"{NEW} {OLD}").post(EVENT)

    [(_, headers, body)] = receiver.requests
    assert Verifier(OLD).verify(body, headers) == Verifier(NEW).verify(body, headers)


def test_a_second_try_has_the_same_id_and_its_own_time(receiver: Receiver) -> None:
    moments = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)])
    again = webhook(receiver.url)
    again._now = lambda: next(moments)
    again.post(EVENT)
    again.post(EVENT)

    first, second = (headers for _, headers, _ in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 86_400


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (410, "webhook.gone"),
        (400, "webhook.rejected"),
        (401, "webhook.rejected"),
        (404, "webhook.rejected"),
        (413, "webhook.rejected"),
        (500, "webhook.rejected"),
        (429, "dependency.webhook"),
        (502, "dependency.webhook"),
        (503, "dependency.webhook"),
        (504, "dependency.webhook"),
    ],
)
def test_only_gone_is_final(receiver: Receiver, status: int, code: str) -> None:
    error = refusal(receiver, status, b"no \x1b[2J\nthanks")

    assert error.code == code
    assert isinstance(error, RequestError if status == 410 else DependencyError)
    assert str(error).endswith(f"answered {status} no \\x1b[2J thanks")
    assert "canary" not in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    error = refusal(receiver, status, location=receiver.url)

    assert error.code == "webhook.rejected"
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("120", timedelta(minutes=2)),
        ("999999999999", timedelta(days=1)),
        ("Tue, 01 Jan 2019 00:00:00 GMT", timedelta()),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=1)),
        ("Fri, 31 Dec 99999999 23:59:59 GMT", None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_may_ask_to_be_left_alone_for_a_while(
    receiver: Receiver, status: int, asked: str, granted: timedelta | None
) -> None:
    error = refusal(receiver, status, retry_after=asked)

    assert isinstance(error, DependencyError)
    assert error.retry_after == granted


def test_a_large_or_packed_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    large = refusal(receiver, 500, b"x" * 5_000_000)
    packed = refusal(receiver, 500, gzip.compress(bytes(1_000_000)), content_encoding="gzip")

    assert len(str(large)) < 300
    assert len(str(packed)) < 1500


def test_a_receiver_that_is_not_there_or_answers_no_http_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DependencyError) as caught:
        webhook(f"http://127.0.0.1:{port}/canary").post(EVENT)
    assert caught.value.code == "dependency.webhook"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 2", b"220 smtp ready\r\n"])
def test_a_receiver_that_hangs_keeps_nobody_for_long(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def talk() -> None:
            connection, _ = silent.accept()
            with connection:
                connection.sendall(says)
                over.wait(20)

        over = threading.Event()
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(DependencyError) as caught:
            webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.3).post(EVENT)
        took = time.monotonic() - began
        over.set()
        thread.join(5)

    assert caught.value.code == "dependency.webhook"
    assert took < 5
