"""An HTTP client whose every request ends, whoever answers: httpx with deadlines that bytes must earn.

httpx alone bounds each single read: a server that sends a byte a minute, or headers for ever, holds it as long as it
likes. A fixed total would cut off what is large and slow. So time is earned:

- connecting and the TLS handshake have their timeouts;
- status and headers have ``silence_seconds`` of waiting together, and 256 KiB;
- the body may keep us waiting ``silence_seconds``, and each byte of it earns back a hundredth of a second. So 100 bytes
  a second are the floor: above it a body may take weeks, below it an answer ends ``silence_seconds`` later at most.

Only waiting counts: whoever reads slowly on purpose loses no time. Not here: how many bytes a body may have (whoever
reads it), redirects (never followed).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

FLOOR_BYTES_PER_SECOND = 100
"""A satellite phone brings 300."""
MAX_HEAD_BYTES = 256 * 1024
_CONNECT_SECONDS = 30.0
_KEEP_SECONDS = 150.0
"""A connection outlives the pause between two polls: a TLS handshake costs more bytes than a poll."""


def bounded_client(
    silence_seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic, *, proxies: bool = True
) -> httpx.Client:
    """A client; ``SSL_CERT_FILE`` is honoured.

    Args:
        silence_seconds: How long an answer may keep us waiting at a stretch.
        proxies: Whether ``HTTP(S)_PROXY`` and ``NO_PROXY`` are honoured, too: not for what is on this device.
    """
    timeout = httpx.Timeout(silence_seconds, connect=min(_CONNECT_SECONDS, silence_seconds))
    return httpx.Client(transport=_Transport(silence_seconds, monotonic, proxies), timeout=timeout)


class _Transport(httpx.BaseTransport):
    """As httpx's own, over a network that counts."""

    def __init__(self, silence_seconds: float, monotonic: Callable[[], float], proxies: bool) -> None:
        self._proxies = proxies
        self._head = _Head()
        self._network = _PacedNetwork(silence_seconds, monotonic, self._head)
        self._pools: dict[str, httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        wire = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _httpx_errors(), self._head:
            answer = self._pool(url).handle_request(wire)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = _proxy_for(url) if self._proxies else ""
        if proxy not in self._pools:
            self._pools[proxy] = httpcore.ConnectionPool(
                ssl_context=httpx.create_ssl_context(),
                proxy=_proxy(proxy) if proxy else None,
                keepalive_expiry=_KEEP_SECONDS,
                network_backend=self._network,
            )
        return self._pools[proxy]


class _Head(threading.local):
    """The part of an answer before its body, in the thread that waits for it."""

    bytes_left: int | None = None
    """None in a body."""

    def __enter__(self) -> None:
        self.bytes_left = MAX_HEAD_BYTES

    def __exit__(self, *_: object) -> None:
        self.bytes_left = None

    def take(self, size: int) -> bool:
        """Whether these bytes belong to a head."""
        if self.bytes_left is None:
            return False
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise httpcore.RemoteProtocolError(f"more than {MAX_HEAD_BYTES} bytes of headers")
        return True


class _PacedNetwork(httpcore.NetworkBackend):
    def __init__(self, silence_seconds: float, monotonic: Callable[[], float], head: _Head) -> None:
        self._real = httpcore.SyncBackend()
        self._silence_seconds = silence_seconds
        self._monotonic = monotonic
        self._head = head

    def connect_tcp(self, *address: Any, **options: Any) -> httpcore.NetworkStream:
        return self._paced(self._real.connect_tcp(*address, **options))

    def connect_unix_socket(self, *address: Any, **options: Any) -> httpcore.NetworkStream:
        return self._paced(self._real.connect_unix_socket(*address, **options))

    def sleep(self, seconds: float) -> None:
        self._real.sleep(seconds)

    def _paced(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        return _PacedStream(stream, self._silence_seconds, self._monotonic, self._head)


class _PacedStream(httpcore.NetworkStream):
    """One connection: what is left of the time that its present answer may keep us waiting."""

    def __init__(
        self, stream: httpcore.NetworkStream, silence_seconds: float, monotonic: Callable[[], float], head: _Head
    ) -> None:
        self._stream = stream
        self._silence_seconds = silence_seconds
        self._monotonic = monotonic
        self._head = head
        self._left = silence_seconds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise httpcore.ReadTimeout(
                f"less than {FLOOR_BYTES_PER_SECOND} bytes a second for {self._silence_seconds:.0f} s"
            )
        began = self._monotonic()
        data = self._stream.read(max_bytes, self._left)
        self._left -= self._monotonic() - began
        if not self._head.take(len(data)):
            self._left = min(self._silence_seconds, self._left + len(data) / FLOOR_BYTES_PER_SECOND)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """A request goes out, so its answer has all its time before it."""
        self._left = self._silence_seconds
        self._stream.write(buffer, self._silence_seconds)

    def start_tls(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(*args, **options)
        return _PacedStream(stream, self._silence_seconds, self._monotonic, self._head)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._stream

    def close(self) -> None:
        with _httpx_errors():
            self._stream.close()


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """httpx names its errors as httpcore does."""
    try:
        yield
    except Exception as error:
        kind = getattr(httpx, type(error).__name__, None)
        if kind is None or not isinstance(error, _HTTPCORE_ERRORS):
            raise
        raise kind(str(error)) from error


_HTTPCORE_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


def _proxy_for(url: httpx.URL) -> str:
    """Address of the proxy that the environment names for this URL; "" for none."""
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all") or ""
    return "" if not found or proxy_bypass(url.host) else found if "://" in found else f"http://{found}"


def _proxy(address: str) -> httpcore.Proxy:
    url = httpx.URL(address)
    auth = (url.username, url.password) if url.username else None
    return httpcore.Proxy(str(url.copy_with(username=None, password=None)), auth=auth)


def read_bounded(pieces: Iterable[bytes], limit: int) -> bytes | None:
    """Everything, or None as soon as it is more than ``limit`` bytes."""
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > limit:
            return None
    return bytes(data)
