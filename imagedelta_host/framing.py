"""Messages between host and worker: a length of 4 bytes, big endian, then that many bytes."""

from __future__ import annotations

import asyncio
import socket

_LENGTH_BYTES = 4
MAX_FRAME_BYTES = 256 << 20


async def write_frame(writer: asyncio.StreamWriter, payload: bytes) -> None:
    """Send one message."""
    writer.write(len(payload).to_bytes(_LENGTH_BYTES, "big") + payload)
    await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Receive one message.

    Raises:
        asyncio.IncompleteReadError: The other side is gone.
        ConnectionError: The length is over ``MAX_FRAME_BYTES``: the other side is not ours.
    """
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if length > MAX_FRAME_BYTES:
        raise ConnectionError(f"a message of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
    return await reader.readexactly(length)


def send_frame(connection: socket.socket, payload: bytes) -> None:
    """Send one message; blocks."""
    connection.sendall(len(payload).to_bytes(_LENGTH_BYTES, "big") + payload)


def receive_frame(connection: socket.socket) -> bytes | None:
    """Receive one message; blocks; ``None`` when the other side has closed."""
    head = _receive(connection, _LENGTH_BYTES)
    return None if head is None else _receive(connection, int.from_bytes(head, "big"))


def _receive(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
