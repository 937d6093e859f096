"""Every request ends: against a real server that trickles, floods, or says nothing at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from services.http_bounded import FLOOR_BYTES_PER_SECOND, bounded_client, read_bounded

SILENCE = 0.5
"""Seconds; a real link gets 60."""
PATIENCE = 20.0


@contextmanager
def serving(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request and lets ``handle`` answer it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                end, _ = listener.accept()
                threading.Thread(target=answer, args=(end,), daemon=True).start()

    def answer(end: socket.socket) -> None:
        with end, suppress(OSError):
            end.settimeout(PATIENCE)
            while end.recv(65536):
                handle(end)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def trickle(end: socket.socket, data: bytes, seconds: float = PATIENCE) -> None:
    """Byte by byte, each well before any idle timeout."""
    deadline = time.monotonic() + seconds
    for byte in data:
        if time.monotonic() > deadline:
            return
        end.sendall(bytes([byte]))
        time.sleep(SILENCE / 5)


def ended_after(url: str) -> float:
    started = time.monotonic()
    with bounded_client(SILENCE) as client, pytest.raises(httpx.HTTPError):
        client.get(url)
    return time.monotonic() - started


def silent(end: socket.socket) -> None:
    time.sleep(PATIENCE)


def trickling_head(end: socket.socket) -> None:
    trickle(end, b"HTTP/1.1 200 OK\r\n" + b"x-a: " + b"a" * 10_000)


def trickling_body(end: socket.socket) -> None:
    end.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
    trickle(end, bytes(10_000))


def a_burst_and_then_a_trickle(end: socket.socket) -> None:
    """What came fast buys no more than the silence that anybody has."""
    end.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + bytes(1_000_000))
    trickle(end, bytes(10_000))


@pytest.mark.parametrize("handle", [silent, trickling_head, trickling_body, a_burst_and_then_a_trickle])
def test_an_answer_below_the_floor_ends_soon(handle: Callable[[socket.socket], None]) -> None:
    with serving(handle) as url:
        assert ended_after(url) < PATIENCE / 2


def endless_interim_answers(end: socket.socket) -> None:
    while True:
        end.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_headers(end: socket.socket) -> None:
    end.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        end.sendall(b"x-a: a\r\n" * 1000)


@pytest.mark.parametrize("handle", [endless_interim_answers, endless_headers])
def test_a_head_without_end_ends(handle: Callable[[socket.socket], None]) -> None:
    with serving(handle) as url:
        assert ended_after(url) < PATIENCE / 2


def test_an_endless_body_is_read_no_further_than_its_bound() -> None:
    def endless(end: socket.socket) -> None:
        end.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            end.sendall(bytes(65536))

    with serving(endless) as url, bounded_client(SILENCE) as client, client.stream("GET", url) as response:
        assert read_bounded(response.iter_raw(), 1_000_000) is None


def test_what_is_slow_but_above_the_floor_comes_whole_however_long_it_takes() -> None:
    size = FLOOR_BYTES_PER_SECOND * 4

    def slowly(end: socket.socket) -> None:
        end.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(20):
            time.sleep(SILENCE / 5)
            end.sendall(bytes(size // 20))

    with serving(slowly) as url, bounded_client(SILENCE) as client:
        started = time.monotonic()
        assert len(client.get(url).content) == size
        assert time.monotonic() - started > 3 * SILENCE


def test_who_reads_slowly_on_purpose_loses_no_time() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 400000\r\n\r\n" + bytes(400_000)

    with (
        serving(lambda end: end.sendall(answer)) as url,
        bounded_client(SILENCE) as client,
        client.stream("GET", url) as response,
    ):
        pieces = response.iter_raw()
        size = len(next(pieces))
        time.sleep(2 * SILENCE)
        assert size + sum(map(len, pieces)) == 400_000


def test_a_connection_is_used_again_and_each_answer_has_its_own_time() -> None:
    connections = set()

    def once(end: socket.socket) -> None:
        connections.add(end.getpeername())
        time.sleep(SILENCE * 0.7)
        end.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    with serving(once) as url, bounded_client(SILENCE) as client:
        assert [client.get(url).text for _ in range(4)] == ["ok"] * 4
    assert len(connections) == 1


def test_redirects_are_not_followed() -> None:
    answer = b"HTTP/1.1 302 x\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n"

    with serving(lambda end: end.sendall(answer)) as url, bounded_client(SILENCE) as client:
        assert client.get(url).status_code == 302


def test_a_proxy_of_the_environment_is_asked_unless_the_host_is_named_as_near(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda end: end.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("//", "//user:word@"))
        monkeypatch.setenv("no_proxy", "near.test")
        with bounded_client(SILENCE) as client:
            assert client.get("http://far.test/a").text == "proxy"
            with pytest.raises(httpx.ConnectError):
                client.get("http://near.test/a")


def test_errors_are_those_of_httpx() -> None:
    with bounded_client(SILENCE) as client, pytest.raises(httpx.ConnectError):
        client.get("http://127.0.0.1:1/")
