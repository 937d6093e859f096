"""What is done to a dependency while a set goes through, how often, and the table that docs/faults.md shows of it.

Every fault is injected in front of the real part, or by the real part itself; ``count`` is of what was really done to
a connection, request, message or lock of the job, never of what was meant.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.parts.smtp_server import SmtpServer
from tests.simulators.tcp_proxy import TcpProxy

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LOOK_SECONDS = 0.01
_CUT_SECONDS = 90
"""So long a cut waits for a connection that carries as many bytes."""


@dataclass
class Surroundings:
    """What a fault may lay hands on."""

    link: TcpProxy
    mail: SmtpServer
    database: Path
    unheard_after: int
    """Bytes of a mail server's answers that end within the one to a whole message."""
    ended: threading.Event = field(default_factory=threading.Event)
    count: int = 0

    def until(self, done: Callable[[], bool], seconds: float = 150) -> None:
        """Wait for it, unless the job has ended."""
        deadline = time.monotonic() + seconds
        while not done() and not self.ended.is_set() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


Inject = Callable[[Surroundings], None]


@dataclass(frozen=True)
class Fault:
    dependency: str
    trouble: str
    injected: str
    """In words, for the table."""
    least: int
    """So often at least, or the test proves nothing."""
    inject: Inject = field(repr=False)

    def __str__(self) -> str:
        return f"{self.dependency} {self.trouble}"


def slow(latency: float, bytes_per_second: int) -> Inject:
    def inject(to: Surroundings) -> None:
        start = to.link.connections
        to.link.latency_seconds, to.link.bytes_per_second = latency, bytes_per_second
        to.link.cut()
        while not to.ended.wait(_LOOK_SECONDS):
            to.count = to.link.connections - start
        to.link.latency_seconds, to.link.bytes_per_second = 0.0, None

    return inject


def failing(times: int) -> Inject:
    """Each connection is answered 503 to its first request."""

    def inject(to: Surroundings) -> None:
        start = to.link.connections
        to.link.answer = _BUSY
        to.link.cut()

        def enough() -> bool:
            to.count = to.link.connections - start
            return to.count >= times

        to.until(enough)
        to.link.answer = None

    return inject


def half_way(*after: int) -> Inject:
    """Connections break after so many bytes of the answers, one after the other."""

    def inject(to: Surroundings) -> None:
        for number in after:
            before = to.link.cuts
            to.link.cut_after = to.unheard_after if number == UNHEARD else number
            to.until(lambda before=before: to.link.cuts > before, _CUT_SECONDS)  # type: ignore[misc]
            to.link.cut_after = None
            to.count += to.link.cuts - before
        to.link.cut_after = None

    return inject


def gone(seconds: float) -> Inject:
    """Every connection is reset, for so long after the first one."""

    def inject(to: Surroundings) -> None:
        start = to.link.connections
        to.link.refusing = True
        to.link.cut()

        def noticed() -> bool:
            to.count = to.link.connections - start
            return to.count > 0

        to.until(noticed)
        to.ended.wait(seconds)
        noticed()
        to.link.refusing = False

    return inject


def refused_mails(times: int) -> Inject:
    def inject(to: Surroundings) -> None:
        to.mail.refusals = ["451 try again later"] * times

        def enough() -> bool:
            to.count = times - len(to.mail.refusals)
            return to.count >= times

        to.until(enough)

    return inject


def locked(held: float, pause: float, times: int | None = None) -> Inject:
    """Another connection holds the lock of writers, again and again."""

    def inject(to: Surroundings) -> None:
        with closing(sqlite3.connect(to.database, timeout=30, isolation_level=None)) as other:
            while not to.ended.is_set() and (times is None or to.count < times):
                other.execute("BEGIN EXCLUSIVE")
                to.count += 1
                to.ended.wait(held)
                other.execute("ROLLBACK")
                to.ended.wait(pause)

    return inject


UNHEARD = -1
"""In place of a number of bytes: of a mail server's answers up to and into the one that says "taken"."""

BLOBS, HUB, MAIL, SQL = "blob storage", "IoT Hub", "mail server", "database"
FAULTS: Sequence[Fault] = (
    Fault(BLOBS, "slow", "150 ms more each way, 300 KB/s", 3, slow(0.15, 300_000)),
    Fault(BLOBS, "failing", "503 to the first request of each connection", 4, failing(4)),
    Fault(
        BLOBS,
        "failing half-way",
        "cut after 0, 1, 200, 1,000 and 20,000 bytes of answers",
        5,
        half_way(0, 1, 200, 1_000, 20_000),
    ),
    Fault(BLOBS, "gone", "every connection reset for 5 s", 1, gone(5)),
    Fault(HUB, "slow", "150 ms more each way, 50 KB/s", 1, slow(0.15, 50_000)),
    Fault(HUB, "failing", "503 to the first request of each connection", 2, failing(2)),
    Fault(HUB, "failing half-way", "cut after 0 and 200 bytes of answers", 2, half_way(0, 200)),
    Fault(HUB, "gone", "every connection reset for 5 s", 1, gone(5)),
    Fault(MAIL, "slow", "300 ms more each way, 2 KB/s", 2, slow(0.3, 2_000)),
    Fault(MAIL, "failing", "451 to a message", 3, refused_mails(3)),
    Fault(
        MAIL,
        "failing half-way",
        "cut after 0, 20 and 100 bytes of answers, and when a message was taken and nobody heard so",
        4,
        half_way(0, 20, 100, UNHEARD),
    ),
    Fault(MAIL, "gone", "every connection reset for 5 s", 1, gone(5)),
    Fault(SQL, "slow", "locked for 0.3 s, free for 0.2 s", 10, locked(0.3, 0.2)),
    Fault(SQL, "gone", "locked for 22 s, longer than anybody waits for a lock", 1, locked(22, 0, times=1)),
)


@contextmanager
def injected(fault: Fault, to: Surroundings, struck: Callable[[], None]) -> Iterator[None]:
    """The fault is at work within; ``struck`` is called once, soon after it was felt for the first time."""

    def watch() -> None:
        to.until(lambda: to.count > 0, 120)
        if to.count:
            to.ended.wait(0.2)
            struck()

    threads = [threading.Thread(target=fault.inject, args=(to,)), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        to.ended.set()
        for thread in threads:
            thread.join(60)


def table() -> str:
    """As docs/faults.md shows it."""
    head = ["what", "how", "injected", "at least", "then also SIGKILL", "lost", "twice"]
    rows = [
        [fault.dependency, fault.trouble, fault.injected, f"{fault.least} ×", "yes", "nothing", "nothing"]
        for fault in FAULTS
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"
