"""The proxy in front of a real server does what its attributes say, to the byte."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.tcp_proxy import TcpProxy

SENT = bytes(range(256)) * 2000


class _Sender(socketserver.BaseRequestHandler):
    """Sends everything to whoever says a line, then says the line back."""

    def handle(self) -> None:
        line = self.request.recv(100)
        try:
            self.request.sendall(SENT + line)
        except OSError:
            return


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with _Server(("127.0.0.1", 0), _Sender) as sender:
        thread = threading.Thread(target=sender.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield ("127.0.0.1", sender.server_address[1])
        sender.shutdown()
        thread.join()


def fetch(link: TcpProxy, seconds: float = 10.0) -> tuple[bytes, type[Exception] | None]:
    """What arrives of an answer, and how it ended."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", link.port), timeout=seconds) as end:
            end.sendall(b"hello")
            while piece := end.recv(65536):
                got += piece
    except OSError as error:
        return got, type(error)
    return got, None


def test_without_trouble_every_byte_passes_both_ways(server: tuple[str, int]) -> None:
    with TcpProxy(server) as link:
        assert fetch(link) == (SENT + b"hello", None)
        assert (link.carried_up, link.carried_down) == (5, len(SENT) + 5)


@pytest.mark.parametrize("resets", [True, False])
def test_a_connection_breaks_after_exactly_so_many_bytes(server: tuple[str, int], resets: bool) -> None:
    with TcpProxy(server) as link:
        link.cut_after, link.resets = 100_000, resets

        got, ended = fetch(link)

        assert got == SENT[:100_000]
        assert ended == (ConnectionResetError if resets else None)
        assert (link.cuts, link.carried_down) == (1, 100_000)


def test_a_thin_link_takes_its_time(server: tuple[str, int]) -> None:
    with TcpProxy(server) as link:
        link.bytes_per_second, link.latency_seconds = 2_000_000, 0.05
        started = time.monotonic()

        got, _ = fetch(link)

        assert len(got) == len(SENT) + 5
        assert time.monotonic() - started > len(SENT) / 2_000_000


def test_cuts_by_the_clock_and_by_hand_reach_open_connections(server: tuple[str, int]) -> None:
    with TcpProxy(server) as link:
        link.bytes_per_second, link.cut_every_seconds = 100_000, 0.1
        got, ended = fetch(link)
        assert len(got) < len(SENT)
        assert ended is ConnectionResetError

        link.cut_every_seconds = None
        with socket.create_connection(("127.0.0.1", link.port)) as end:
            end.sendall(b"hello")
            end.recv(1)
            assert link.cut() == 1


def test_a_hanging_link_says_nothing_until_it_goes_on(server: tuple[str, int]) -> None:
    with TcpProxy(server) as link:
        link.hanging = True
        got, ended = fetch(link, seconds=0.2)
        assert (got, ended) == (b"", TimeoutError)

        link.hanging = False
        assert fetch(link) == (SENT + b"hello", None)


def test_a_link_that_refuses_and_one_that_answers_in_place_of_the_server(server: tuple[str, int]) -> None:
    with TcpProxy(server) as link:
        link.refusing = True
        assert fetch(link)[0] == b""

        link.refusing, link.answer = False, b"HTTP/1.1 500 no\r\n\r\n"
        assert fetch(link)[0] == b"HTTP/1.1 500 no\r\n\r\n"


def test_a_server_that_is_not_there_resets_the_connection(server: tuple[str, int]) -> None:
    with TcpProxy(("127.0.0.1", 1)) as link:
        assert fetch(link)[0] == b""

        link.target = server
        assert fetch(link) == (SENT + b"hello", None)


def test_a_unix_socket_may_be_either_end(server: tuple[str, int], tmp_path: Path) -> None:
    with (
        TcpProxy(server, listen=tmp_path / "inner.sock"),
        TcpProxy(tmp_path / "inner.sock") as link,
    ):
        assert fetch(link) == (SENT + b"hello", None)
