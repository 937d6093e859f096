"""Messages that wait for the hub, a file each: durable once put, deleted only after the acknowledgement.

Order is kept, at least once: a kill between acknowledgement and deletion sends a message again, with the
same message id. Of inventories only the newest waits, because it says everything the older ones said.

Bounded, for a link that is away for months: the report gives way first that a newer one of the same attempt
has overtaken, then the oldest; the newest inventory, which repeats results, never does. A disk that takes no
writes keeps nobody silent: what cannot be put on it waits in memory and is put there later.

Shared by the threads. No lock is held while the hub is asked.

File name: "<12-digit order>-<first 32 hex of sha256 of the message id>.json".
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ConfigDict, TypeAdapter

from contracts.messages import MAX_MESSAGE_BYTES
from edge_module.backoff import Backoff
from edge_module.damage import DamageLog
from edge_module.files import Files
from edge_module.hub import Envelope, Hub
from edge_module.state_files import StateFiles
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, RequestError

FOLDER = "outbox"
MAX_MESSAGES = 2000
MAX_BYTES = 16 * 1024 * 1024
MAX_BYTES_IN_MEMORY = 2 * 1024 * 1024
_MAX_FILE_BYTES = 2 * MAX_MESSAGE_BYTES
_MAX_SENT = 256
_SAVE_SECONDS = 30.0
_WITHOUT = "the next inventory makes up for the message"
_NAME = re.compile(r"(0\d{11})-([0-9a-f]{32})\.json")
log = logging.getLogger("imagedelta.outbox")


@dataclass(frozen=True)
class _Record:
    """An envelope as its file holds it."""

    __pydantic_config__ = ConfigDict(strict=True)

    message_id: str
    kind: str
    body: str
    """In base64."""
    content_encoding: str = ""
    content_type: str = "application/json"


@dataclass
class _Waiting:
    message_id: str
    kind: str
    size: int
    order: int
    message: Envelope | None
    """None: it is on the disk."""
    has_file: bool
    """There may be a file, whether it can be relied on or not."""

    @property
    def name(self) -> str:
        return f"{self.order:012d}-{_digest(self.message_id)}.json"

    @property
    def attempt(self) -> str:
        """What it reports on; reports of the same attempt overtake each other."""
        return self.message_id.rpartition(":")[0] if self.kind == "report" else ""


class Outbox:
    def __init__(self, files: Files, backoff: Backoff, monotonic: Callable[[], float], damage: DamageLog) -> None:
        self._backoff = backoff
        self._monotonic = monotonic
        self._damage = damage
        self._lock = threading.RLock()
        self._next_try = 0.0
        self._next_save = 0.0
        self._records = StateFiles(files, FOLDER, TypeAdapter(_Record), _MAX_FILE_BYTES, damage)
        self._waiting: list[_Waiting] = []
        self._listed = False
        self._done: set[str] = set()
        """Files of acknowledged messages that the disk did not let go of yet."""
        self._sent_from_memory: deque[str] = deque(maxlen=_MAX_SENT)
        """Acknowledged before the disk took them: who asks whether they are safe must not send them again."""
        self._list()

    def put(self, message: Envelope) -> bool:
        """Take a message; returns whether it is safe: on the disk, or sent. One that already waits is not put twice.

        Raises: ContentError for one that no hub takes.
        """
        if len(message.body) > MAX_MESSAGE_BYTES:
            raise ContentError(f"message {message.message_id}: {len(message.body)} bytes, at most {MAX_MESSAGE_BYTES}")
        with self._lock:
            if message.message_id in self._sent_from_memory:
                return True
            waiting = self._find(message.message_id)
            if waiting is None:
                order = max((each.order for each in self._waiting), default=0) + 1
                waiting = _Waiting(message.message_id, message.kind, len(message.body), order, message, False)
                self._waiting.append(waiting)
                self._settle()
            return waiting.message is None

    def flush(self, hub: Hub) -> bool:
        """Send what waits, oldest first, until the hub fails; then wait longer with each failure in a row.

        Of one thread. Returns: whether nothing waits any more.
        """
        if self._monotonic() >= self._next_try:
            with self._lock:
                if self._monotonic() >= self._next_save:
                    self._settle()
                round_ = list(self._waiting)
            for waiting in round_:
                if not self._send(hub, waiting):
                    break
        return len(self) == 0

    def hurry(self) -> None:
        """The hub is there again: what waits need not wait for the end of the pause."""
        self._next_try = 0.0

    @property
    def due(self) -> float | None:
        """When ``flush`` would send something (monotonic seconds); None while nothing waits."""
        return self._next_try if self._waiting else None

    def waiting(self) -> list[Envelope]:
        """The messages in the order they will be sent."""
        with self._lock:
            return [message for each in list(self._waiting) if (message := self._message(each)) is not None]

    def __len__(self) -> int:
        return len(self._waiting)

    # Sending.

    def _send(self, hub: Hub, waiting: _Waiting) -> bool:
        """Returns whether the next one may be sent too."""
        try:
            message = self._message(waiting)
            if message is not None:
                hub.send(message)
        except Exception as error:
            return self._not_sent(waiting, error)
        self._backoff.succeeded()
        with self._lock:
            if waiting.message is not None:
                self._sent_from_memory.append(waiting.message_id)
            self._remove(waiting)
        return True

    def _not_sent(self, waiting: _Waiting, error: Exception) -> bool:
        if isinstance(error, RequestError) and error.code == "hub.refused":
            log.error("message %s is refused for good, dropped: %s", waiting.message_id, error)
            with self._lock:
                self._remove(waiting)
            return True
        pause = self._backoff.failed()
        self._next_try = self._monotonic() + pause
        if isinstance(error, ImageDeltaError):
            log.warning("hub unreachable, next try in %.0f s: %s", pause, error)
            return False
        log.error("message %s failed in a way nobody foresaw; others go first", waiting.message_id, exc_info=error)
        with self._lock:
            self._waiting.sort(key=lambda each: each is waiting)
        return False

    # What waits.

    def _settle(self) -> None:
        """Bring the disk up to what is known, and what is known within its bounds: at each new message, and now and
        then, as a disk that failed may be well again."""
        self._next_save = self._monotonic() + _SAVE_SECONDS
        self._list()
        self._drop_old_inventories()
        while (victim := self._over_bounds()) is not None:
            log.warning("message %s gives way: too many wait for the hub", victim.message_id)
            self._remove(victim)
        for name in sorted(self._done):
            self._delete(name)
        for waiting in self._waiting:
            if waiting.message is not None and not self._save(waiting, waiting.message):
                return
        self._drop_old_inventories()

    def _list(self) -> None:
        """What an earlier run left; a disk that does not answer is asked again later."""
        if self._listed:
            return
        try:
            found = [self._from_disk(name) for name in self._records.names()]
        except DependencyError as error:
            log.error("the outbox cannot be read yet: %s", error)
            return
        old = [each for each in found if each is not None]
        known = {each.message_id for each in old}
        last = max((each.order for each in old), default=0)
        fresh = [each for each in self._waiting if each.message_id not in known]
        for number, each in enumerate(fresh, last + 1):
            each.order = number
        self._waiting = [*old, *fresh]
        self._listed = True

    def _from_disk(self, name: str) -> _Waiting | None:
        try:
            record = self._records.read(name, without=_WITHOUT)
        except DependencyError as error:
            log.error("%s/%s cannot be read; it is sent by a later start: %s", FOLDER, name, error)
            return None
        if record is None:
            return None
        match, message = _NAME.fullmatch(name), _opened(record)
        if match is None or message is None or _digest(message.message_id) != match[2]:
            self._damage.set_aside(f"{FOLDER}/{name}", "it is not the message it is named for", _WITHOUT)
            return None
        return _Waiting(message.message_id, message.kind, len(message.body), int(match[1]), None, True)

    def _message(self, waiting: _Waiting) -> Envelope | None:
        """None when it is damaged by now; that is told.

        Raises: DependencyError when the disk does not answer.
        """
        if waiting.message is not None:
            return waiting.message
        record = self._records.read(waiting.name, without=_WITHOUT)
        return None if record is None else _opened(record)

    def _save(self, waiting: _Waiting, message: Envelope) -> bool:
        if not self._listed:
            return False
        had_file, waiting.has_file = waiting.has_file, True
        try:
            self._records.write(waiting.name, _closed(message))
        except DependencyError as error:
            if not had_file:
                log.error("message %s waits in memory: %s", waiting.message_id, error)
            return False
        waiting.message = None
        return True

    def _over_bounds(self) -> _Waiting | None:
        """Who has to give way: overtaken reports first, then the oldest; never the only inventory."""
        in_memory = sum(each.size for each in self._waiting if each.message is not None)
        total = sum(each.size for each in self._waiting)
        if in_memory > MAX_BYTES_IN_MEMORY:
            candidates = [each for each in self._waiting if each.message is not None]
        elif len(self._waiting) > MAX_MESSAGES or total > MAX_BYTES:
            candidates = list(self._waiting)
        else:
            return None
        reports = [each for each in candidates if each.kind != "inventory"]
        newest = {each.attempt: each for each in self._waiting}
        overtaken = [each for each in reports if newest[each.attempt] is not each]
        return next(iter(overtaken or reports), None)

    def _drop_old_inventories(self) -> None:
        """Only once the newest is durable: until then an older one on the disk is worth more than nothing."""
        inventories = [each for each in self._waiting if each.kind == "inventory"]
        for old in inventories[:-1]:
            if inventories[-1].message is None or old.message is not None:
                self._remove(old)

    def _remove(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if waiting.has_file:
            self._delete(waiting.name)

    def _delete(self, name: str) -> None:
        """A file that the disk does not let go of is not sent again, as long as this process lives."""
        try:
            self._records.remove(name)
            self._done.discard(name)
        except DependencyError as error:
            if name not in self._done:
                log.error("%s/%s cannot be removed yet: %s", FOLDER, name, error)
            self._done.add(name)

    def _find(self, message_id: str) -> _Waiting | None:
        return next((each for each in self._waiting if each.message_id == message_id), None)


def _closed(message: Envelope) -> _Record:
    body = base64.b64encode(message.body).decode()
    return _Record(message.message_id, message.kind, body, message.content_encoding, message.content_type)


def _opened(record: _Record) -> Envelope | None:
    try:
        body = base64.b64decode(record.body, validate=True)
    except ValueError:
        return None
    return Envelope(record.message_id, record.kind, body, record.content_encoding, record.content_type)


def _digest(message_id: str) -> str:
    return hashlib.sha256(message_id.encode()).hexdigest()[:32]
