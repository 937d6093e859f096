"""A TCP proxy in front of a real server: a link that is thin, far, cut, silent or gone, without root.

It listens on a free port of 127.0.0.1 (or on a unix socket) and runs in a thread of its own. Every trouble is a plain
attribute that a test may set at any time; it holds for what is carried from then on.

    with TcpProxy(("127.0.0.1", registry_port)) as link:
        link.cut_after = 100_000        # each connection breaks once it has carried so many bytes down
        client = connect_to("127.0.0.1", link.port)

"Down" is what the server sends to the client, "up" the other way.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

Address = tuple[str, int] | Path
"""Host and port, or the path of a unix socket."""
_PIECE_BYTES = 16 * 1024
_PIECES_UNDER_WAY = 64
_LOOK_SECONDS = 0.01
"""How often what stands still looks whether it may go on."""
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class TcpProxy:
    def __init__(self, target: Address, listen: Path | None = None) -> None:
        """Args:
        target: The real server; it need not run yet.
        listen: A unix socket to be; a free port of 127.0.0.1 when omitted.
        """
        self.target = target
        self.bytes_per_second: float | None = None
        """Of each direction, shared by all connections."""
        self.latency_seconds = 0.0
        """Added to every piece, one way."""
        self.cut_after: int | None = None
        """A connection breaks when it has carried so many bytes down, not one more."""
        self.cut_every_seconds: float | None = None
        """All connections break so often."""
        self.hanging = False
        """Nothing is carried any more, and nobody is told: connections stay open, new ones are taken."""
        self.refusing = False
        """New connections are reset at once; see ``cut`` for those that are open."""
        self.answer: bytes | None = None
        """Sent in place of whatever the server would say to the first bytes of a new connection, which then ends."""
        self.resets = True
        """A cut is a reset; False: the connection just ends, as behind a proxy that closes in good order."""
        self.connections = 0
        self.cuts = 0
        self.carried_down = 0
        self.carried_up = 0
        self.port = 0
        self._listen = listen
        self._turns = {"up": 0.0, "down": 0.0}
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> TcpProxy:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def address(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> int:
        """Break every open connection now; returns how many there were."""
        return int(self._call(self._cut_all()))

    def open_connections(self) -> int:
        return len(self._open)

    # Inside, in the loop's thread.

    async def _start(self) -> None:
        if self._listen is not None:
            self._server = await asyncio.start_unix_server(self._serve, self._listen)
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
        self._spawn(self._cut_now_and_then())

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.end(reset=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(_LOOK_SECONDS)  # the loop closes what was ended

    async def _cut_all(self) -> int:
        broken = list(self._open)
        for connection in broken:
            self._cut(connection)
        return len(broken)

    async def _cut_now_and_then(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            every = self.cut_every_seconds
            if every is None:
                last = time.monotonic()
            elif time.monotonic() - last >= every:
                last = time.monotonic()
                await self._cut_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except (OSError, asyncio.CancelledError):
            _end(writer, reset=True)
        finally:
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            _end(writer, reset=True)
            return
        if self.answer is not None:
            await self._answer(reader, writer, self.answer)
            return
        server_reader, server_writer = await self._connect()
        connection = _Connection(writer, server_writer)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._pump(reader, server_writer, "up", connection),
                self._pump(server_reader, writer, "down", connection),
            )
        finally:
            self._open.discard(connection)
            connection.end(reset=False)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        if await reader.read(_PIECE_BYTES):
            writer.write(answer)
            await writer.drain()
        _end(writer, reset=False)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str, connection: _Connection
    ) -> None:
        """Carry one direction until it ends, is cut or fails; the end of one direction leaves the other open."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)
        arriving = asyncio.create_task(self._deliver(under_way, writer, direction, connection))
        try:
            while data := await reader.read(_PIECE_BYTES):
                await self._wait_for_turn(direction, len(data))
                await _first(under_way.put((time.monotonic() + self.latency_seconds, data)), arriving)
            await _first(under_way.put((time.monotonic() + self.latency_seconds, b"")), arriving)
            await arriving
        except OSError:
            connection.end(reset=True)
        finally:
            arriving.cancel()

    async def _deliver(
        self,
        under_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        direction: str,
        connection: _Connection,
    ) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            while self.hanging:
                await asyncio.sleep(_LOOK_SECONDS)
            left = self._left(direction, connection)
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data[:left])
            await writer.drain()
            self._count(direction, min(left, len(data)), connection)
            if len(data) >= left:
                await _wait_until_arrived(writer)
                self._cut(connection)
                return

    def _left(self, direction: str, connection: _Connection) -> int:
        """Bytes until the connection is to break."""
        if direction == "up" or self.cut_after is None:
            return sys.maxsize
        return max(0, self.cut_after - connection.carried_down)

    async def _wait_for_turn(self, direction: str, size: int) -> None:
        if self.bytes_per_second:
            start = max(self._turns[direction], time.monotonic())
            self._turns[direction] = start + size / self.bytes_per_second
            await asyncio.sleep(self._turns[direction] - time.monotonic())

    def _count(self, direction: str, size: int, connection: _Connection) -> None:
        if direction == "down":
            self.carried_down += size
            connection.carried_down += size
        else:
            self.carried_up += size

    def _cut(self, connection: _Connection) -> None:
        self.cuts += 1
        self._open.discard(connection)
        connection.end(reset=self.resets)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


class _Connection:
    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)
        self.carried_down = 0
        for writer in self._ends:  # what waits in a buffer here would be lost by a cut, and counted as carried
            writer.transport.set_write_buffer_limits(0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE_BYTES)

    def end(self, *, reset: bool) -> None:
        for writer in self._ends:
            _end(writer, reset=reset)


async def _first(work: Coroutine[Any, Any, None], other: asyncio.Task[None]) -> None:
    """Do the work, unless the other ends meanwhile: then raise what ended it."""
    mine = asyncio.ensure_future(work)
    await asyncio.wait((mine, other), return_when=asyncio.FIRST_COMPLETED)
    if not mine.done():
        mine.cancel()
        await other
        raise ConnectionAbortedError("the connection was cut")


async def _wait_until_arrived(writer: asyncio.StreamWriter) -> None:
    """Until the kernel of the other end has every byte, at most a second: so a cut comes after an exact number."""
    end: socket.socket = writer.get_extra_info("socket")
    for _ in range(100):
        waiting = fcntl.ioctl(end.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        if not int.from_bytes(waiting, sys.byteorder):
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """Reset: what is still on its way is lost, and the other end sees an error instead of an end."""
    if writer.is_closing():
        return
    if not reset:
        writer.close()
        return
    end: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # a unix socket knows no lingering
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    abort: Callable[[], None] = writer.transport.abort
    abort()
