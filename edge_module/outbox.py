"""Messages that wait for the hub, a file each: durable once put, deleted only after the acknowledgement.

Order is kept, at least once: a kill between acknowledgement and deletion sends a message again, with the
same message id. Of inventories only the newest waits, because it says everything the older ones said.

File name: "<12-digit order>-<first 32 hex of sha256 of the message id>.json".
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict

from contracts.messages import MAX_MESSAGE_BYTES
from edge_module.backoff import Backoff
from edge_module.files import Files, open_folder, read_bounded, remove_durably, write_atomically
from edge_module.hub import Envelope, Hub
from imagedelta.errors import DependencyError, RequestError

FOLDER = "outbox"
_MAX_FILE_BYTES = 2 * MAX_MESSAGE_BYTES
log = logging.getLogger("imagedelta.outbox")


class Outbox:
    def __init__(self, files: Files, backoff: Backoff, monotonic: Callable[[], float]) -> None:
        self._files = files
        self._backoff = backoff
        self._monotonic = monotonic
        self._next_try = 0.0
        self._lock = threading.RLock()
        open_folder(files, FOLDER)

    def put(self, message: Envelope) -> None:
        """Return when the message is on the disk. One that already waits is not put twice."""
        with self._lock:
            waiting = self._names()
            if any(_digest_part(name) == _digest(message.message_id) for name in waiting):
                return
            order = max((int(name[:12]) for name in waiting), default=0) + 1
            record = asdict(message) | {"body": base64.b64encode(message.body).decode()}
            name = f"{order:012d}-{_digest(message.message_id)}.json"
            write_atomically(self._files, f"{FOLDER}/{name}", json.dumps(record).encode())
            if message.kind == "inventory":
                self._drop_inventories_before(name)

    def flush(self, hub: Hub) -> bool:
        """Send what waits, oldest first, until the hub fails; then wait longer with each failure in a row.

        Only one part calls this; others may put messages meanwhile, also while the hub hangs.

        Returns: whether nothing waits any more.
        """
        if self._monotonic() < self._next_try:
            return not self._names()
        for name in self._names():
            try:
                self._send(hub, name)
            except DependencyError as error:
                pause = self._backoff.failed()
                self._next_try = self._monotonic() + pause
                log.warning("hub unreachable, next try in %.0f s: %s", pause, error)
                return False
            remove_durably(self._files, f"{FOLDER}/{name}")
            self._backoff.succeeded()
        return True

    def waiting(self) -> list[Envelope]:
        """The messages in the order they will be sent."""
        return [message for name in self._names() if (message := self._read(name)) is not None]

    def __len__(self) -> int:
        return len(self._names())

    def _send(self, hub: Hub, name: str) -> None:
        message = self._read(name)
        if message is None:
            log.error("outbox file %s cannot be read; the next inventory makes up for it", name)
            return
        try:
            hub.send(message)
        except RequestError as error:
            log.error("message %s is refused for good, dropped: %s", message.message_id, error)

    def _names(self) -> list[str]:
        return [name for name in self._files.list(FOLDER) if name.endswith(".json") and name[:12].isdigit()]

    def _read(self, name: str) -> Envelope | None:
        data = read_bounded(self._files, f"{FOLDER}/{name}", _MAX_FILE_BYTES)
        try:
            record = json.loads(data or b"")
            return Envelope(**record | {"body": base64.b64decode(record["body"])})
        except (ValueError, TypeError, KeyError):
            return None

    def _drop_inventories_before(self, newest: str) -> None:
        for name in self._names():
            message = self._read(name)
            if name < newest and message is not None and message.kind == "inventory":
                remove_durably(self._files, f"{FOLDER}/{name}")


def _digest(message_id: str) -> str:
    return hashlib.sha256(message_id.encode()).hexdigest()[:32]


def _digest_part(name: str) -> str:
    return name[13:].removesuffix(".json")
