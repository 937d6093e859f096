"""A thin link for one device: a TCP relay with a rate, a latency, and cuts after every so many bytes.

Stands where a satellite modem stands: everything the device says and hears passes here. Bytes are passed on
unread but for the request lines, by which what is fetched from an outbox is told from talk with the hub.
Not here: who uses which link (demo.fleet).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

_PIECE = 8 * 1024
"""Bytes passed on at once: small against a second's worth, so that a rate feels even."""
_QUEUE = 64
_REQUEST_LINE = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r\n")
_PORT = re.compile(rb"[A-Z]+ http://127\.0\.0\.1:(\d{1,5})/")
"""As a client asks a proxy: the connection is for that server alone."""
_BUNDLE_PATH = re.compile(rb"/(?:outbox-[^/]+/[^?]+\.(?:bundle|shared)|patches/[0-9a-f]{64})(\?|$)")


@dataclass(frozen=True)
class LinkProfile:
    """What a link can do.

    Attributes:
        bytes_per_second: In each direction, shared by all connections.
        latency_seconds: One way.
        cut_after_bytes: Each time so many bytes have come down, every open connection is cut; 0 never.
    """

    bytes_per_second: int
    latency_seconds: float
    cut_after_bytes: int = 0


@dataclass
class Traffic:
    """What has passed a link so far. Times are seconds since 1970."""

    down: int = 0
    up: int = 0
    bundle_down: int = 0
    """Of ``down``: answers to requests for bundles in an outbox, and for the patches that shared ones refer to."""
    cuts: list[float] = field(default_factory=list)
    by_second: Counter[int] = field(default_factory=Counter)
    """Second -> bytes down in it."""


class ThinLink:
    """One link; runs on the loop of a ``LinkRoom``. A proxy for HTTP, and a relay to one port for all else."""

    def __init__(self, profile: LinkProfile, target_port: int) -> None:
        self.profile = profile
        self.traffic = Traffic()
        self.port = 0
        self._target_port = target_port
        self._next_cut = profile.cut_after_bytes
        self._free_at = {"up": 0.0, "down": 0.0}
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback address; ``port`` tells which."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of start_server always runs in a task
        self._open.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a cut, a refused target or a closed link: the device sees a broken connection
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(_PIECE)
        asked_for = _PORT.match(first)
        port = int(asked_for[1]) if asked_for else self._target_port
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", port)
        asked = _Asked()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump("up", reader, target_writer, asked, first))
                group.create_task(self._pump("down", target_reader, writer, asked))
        except* OSError:
            pass
        finally:
            target_writer.transport.abort()

    async def _pump(
        self,
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asked: _Asked,
        first: bytes = b"",
    ) -> None:
        """Pass pieces on, each no earlier than the rate and the latency allow; ``first`` has been read already."""
        delayed: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUE)
        deliver = asyncio.create_task(_deliver(delayed, writer))
        try:
            while piece := first or await reader.read(_PIECE):
                first = b""
                if direction == "up":
                    asked.see(piece)
                await self._wait_for_room(direction, len(piece))
                self._count(direction, len(piece), asked)
                await delayed.put((time.monotonic() + self.profile.latency_seconds, piece))
            await delayed.put((0.0, b""))
            await deliver
        finally:
            deliver.cancel()

    async def _wait_for_room(self, direction: str, size: int) -> None:
        start = max(time.monotonic(), self._free_at[direction])
        self._free_at[direction] = start + size / self.profile.bytes_per_second
        await asyncio.sleep(self._free_at[direction] - time.monotonic())

    def _count(self, direction: str, size: int, asked: _Asked) -> None:
        if direction == "up":
            self.traffic.up += size
            return
        self.traffic.down += size
        self.traffic.by_second[int(time.time())] += size
        if asked.bundle:
            self.traffic.bundle_down += size
        if self._next_cut and self.traffic.down >= self._next_cut:
            self._next_cut += self.profile.cut_after_bytes
            self.traffic.cuts.append(time.time())
            raise ConnectionResetError("the link was cut")


class _Asked:
    """Whether the last request on a connection was for a bundle; HTTP/1.1 answers in order."""

    def __init__(self) -> None:
        self.bundle = False

    def see(self, piece: bytes) -> None:
        line = _REQUEST_LINE.match(piece)
        if line:
            self.bundle = bool(_BUNDLE_PATH.search(line[1]))


async def _deliver(delayed: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    while True:
        due, piece = await delayed.get()
        await asyncio.sleep(due - time.monotonic())
        if not piece:
            break
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


class LinkRoom:
    """A thread with a loop on which links run while the demo does other things. A context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._links: list[ThinLink] = []

    def __enter__(self) -> LinkRoom:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links:
            self._run(link.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self, profile: LinkProfile, target_port: int) -> ThinLink:
        """A running link to ``target_port`` on this machine."""
        link = ThinLink(profile, target_port)
        self._run(link.start())
        self._links.append(link)
        return link

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)
