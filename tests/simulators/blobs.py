"""Blob storage in memory: whole blobs or none, calls counted, the n-th one failing. Held to the port by tests.blobs."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import BinaryIO

from imagedelta.errors import ContentError, Truncated
from services.blobs.names import check_container, check_name
from services.ports import BlobInfo, BlobRange, Clock, Grant
from tests.simulators.calls import Calls


class BlobsSimulator:
    """The port ``Blobs``."""

    def __init__(self, now: Clock) -> None:
        self.calls = Calls()
        self.containers: dict[str, dict[str, bytes]] = {}
        self._infos: dict[tuple[str, str], BlobInfo] = {}
        self._now = now
        self._storing = threading.RLock()

    def put(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        with self.calls.call("put"):
            return self._store(container, name, b"".join(chunks))

    def put_if_absent(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        with self.calls.call("put_if_absent"):
            return self._store(container, name, b"".join(chunks), only_new=True)

    def compose_if_absent(self, container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        with self.calls.call("compose_if_absent"):
            check_name(container, name)
            if there := self._infos.get((container, name)):
                return there
            return self._store(container, name, b"".join(self._part(part) for part in parts), only_new=True)

    def open(self, container: str, name: str) -> BinaryIO:
        with self.calls.call("open"):
            return io.BytesIO(self._data(container, name))

    def read(self, container: str, name: str, offset: int = 0, length: int | None = None) -> bytes:
        with self.calls.call("read"):
            data = self._data(container, name)
            return data[offset:] if length is None else data[offset : offset + length]

    def read_at(self, container: str, name: str, offset: int, length: int) -> bytes:
        with self.calls.call("read_at"):
            data = self._data(container, name)[offset : offset + length]
            if len(data) < length:
                raise Truncated(f"{container}/{name} ends {length - len(data)} bytes early")
            return data

    def info(self, container: str, name: str) -> BlobInfo | None:
        with self.calls.call("info"):
            check_name(container, name)
            return self._infos.get((container, name))

    def list(self, container: str, prefix: str = "") -> Iterable[BlobInfo]:
        with self.calls.call("list"):
            check_container(container)
            names = sorted(self.containers.get(container, {}))
            return [self._infos[container, name] for name in names if name.startswith(prefix)]

    def delete(self, container: str, name: str) -> None:
        with self.calls.call("delete"):
            check_name(container, name)
            self.containers.get(container, {}).pop(name, None)
            self._infos.pop((container, name), None)

    def delete_container(self, container: str) -> None:
        with self.calls.call("delete_container"):
            check_container(container)
            for name in self.containers.pop(container, {}):
                del self._infos[container, name]

    def container_url(self, container: str) -> str:
        check_container(container)
        return f"https://blobs.example/{container}"

    def read_grant(self, container: str, lifetime: timedelta) -> Grant:
        with self.calls.call("read_grant"):
            self.containers.setdefault(container, {})
            expires_at = self._now() + lifetime
            return Grant(f"se={expires_at.isoformat()}", expires_at)

    def blob_grant(self, container: str, name: str, lifetime: timedelta) -> Grant:
        with self.calls.call("blob_grant"):
            expires_at = self._now() + lifetime
            return Grant(f"sr=b&se={expires_at.isoformat()}&sig={name}", expires_at)

    def write_url(self, container: str, name: str, lifetime: timedelta) -> str:
        return f"{self.container_url(container)}/{name}?se={(self._now() + lifetime).isoformat()}"

    def _store(self, container: str, name: str, data: bytes, *, only_new: bool = False) -> BlobInfo:
        check_name(container, name)
        with self._storing:
            if only_new and (there := self._infos.get((container, name))):
                return there
            self.containers.setdefault(container, {})[name] = data
            info = BlobInfo(name, len(data), hashlib.sha256(data).hexdigest(), self._now())
            self._infos[container, name] = info
            return info

    def _part(self, part: bytes | BlobRange) -> bytes:
        if isinstance(part, bytes):
            return part
        data = self._data(part.container, part.name)[part.offset : part.offset + part.length]
        if len(data) < part.length:
            raise Truncated(f"{part.container}/{part.name} ends {part.length - len(data)} bytes early")
        return data

    def _data(self, container: str, name: str) -> bytes:
        check_name(container, name)
        try:
            return self.containers[container][name]
        except KeyError as error:
            raise ContentError(f"there is no blob {container}/{name}", code="content.missing") from error
