from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from demo.link import LinkProfile, LinkRoom

BODY = bytes(range(256)) * 400


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


@pytest.fixture
def room() -> Iterator[LinkRoom]:
    with LinkRoom() as running:
        yield running


def test_bytes_pass_a_link_unchanged_and_are_counted(room: LinkRoom, server: int) -> None:
    link = room.open(LinkProfile(10_000_000, 0.0), server)

    answer = httpx.get(f"http://127.0.0.1:{link.port}/api/health", trust_env=False)

    assert answer.content == BODY
    assert link.traffic.down > len(BODY)
    assert link.traffic.bundle_down == 0


def test_a_link_is_as_slow_as_its_rate_and_latency(room: LinkRoom, server: int) -> None:
    link = room.open(LinkProfile(bytes_per_second=300_000, latency_seconds=0.1), server)
    start = time.monotonic()

    httpx.get(f"http://127.0.0.1:{link.port}/", trust_env=False)

    assert time.monotonic() - start > len(BODY) / 300_000 + 2 * 0.1 - 0.05


def test_a_link_cuts_the_connection_after_so_many_bytes_and_serves_the_next(room: LinkRoom, server: int) -> None:
    link = room.open(LinkProfile(10_000_000, 0.0, cut_after_bytes=60_000), server)

    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{link.port}/", trust_env=False)

    assert len(link.traffic.cuts) == 1
    with httpx.stream("GET", f"http://127.0.0.1:{link.port}/", trust_env=False) as answer:
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    ["outbox-ship-1/2-000000000001-t-1.bundle", "outbox-ship-1/2-000000000001-t-1.shared", f"patches/{'a' * 64}"],
)
def test_bytes_of_bundles_are_told_from_other_bytes(room: LinkRoom, server: int, path: str) -> None:
    link = room.open(LinkProfile(10_000_000, 0.0), server)

    httpx.get(f"http://127.0.0.1:{link.port}/blobs/{path}.chunks", trust_env=False)
    assert link.traffic.bundle_down == 0

    httpx.get(f"http://127.0.0.1:{link.port}/blobs/{path}?sv=1", trust_env=False)
    assert link.traffic.bundle_down > len(BODY)
