"""Bundles in the inbox folder: from our downloader, or dropped by any file transfer tool.

A foreign tool may write in place, stall for days, deliver twice or in any order. So a foreign file is taken
when its size has been the same for a while, names ending in ``.part`` or ``.tmp`` are left alone, and one
that ends early may go on growing for a day before it is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from contracts.messages import DesiredProperties
from edge_module.apply import Applier
from edge_module.backoff import Backoff
from edge_module.downloader import INBOX
from edge_module.files import Files, remove_durably
from edge_module.intake import Intake
from edge_module.journal import Job, Journal
from edge_module.reporting import Reporter
from imagedelta.bundles import HEAD_BYTES, OpenedBundle, PublicKey, read_bundle
from imagedelta.errors import ContentError, DependencyError, Truncated

log = logging.getLogger("imagedelta.inbox")


@dataclass
class _Seen:
    """What is known of one file since the module started."""

    size: int
    since: float
    """When it was first seen with this size (monotonic seconds)."""
    retry_at: float = 0.0
    verified: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(5.0, 300.0))


class Inbox:
    def __init__(
        self,
        files: Files,
        journal: Journal,
        reporter: Reporter,
        intake: Intake,
        applier: Applier,
        trusted: Mapping[str, PublicKey],
        monotonic: Callable[[], float],
        stable_seconds: float,
        incomplete_seconds: float,
    ) -> None:
        self._files = files
        self._journal = journal
        self._reporter = reporter
        self._intake = intake
        self._applier = applier
        self._trusted = trusted
        self._monotonic = monotonic
        self._stable_seconds = stable_seconds
        self._incomplete_seconds = incomplete_seconds
        self._seen: dict[str, _Seen] = {}

    @property
    def waiting(self) -> int:
        return len(self._names())

    def step(self, desired: DesiredProperties) -> bool:
        """Deal with the first bundle that is ready; returns whether there was one."""
        names = self._names()
        self._seen = {name: self._look(name) for name in names}
        own = {job.bundle for job in self._journal.jobs() if job.bundle and not job.done}
        for name in names:
            if self._is_ready(name, name in own):
                self._deal_with(name, name in own, desired)
                return True
        return False

    def _names(self) -> list[str]:
        """Regular files only: a pipe or folder that somebody puts there would hold everything up."""
        names = [name for name in self._files.list(INBOX) if name.endswith(".bundle")]
        return [name for name in names if self._files.size(f"{INBOX}/{name}") is not None]

    def _look(self, name: str) -> _Seen:
        size = self._files.size(f"{INBOX}/{name}") or 0
        seen = self._seen.get(name)
        return seen if seen is not None and seen.size == size else _Seen(size, self._monotonic())

    def _is_ready(self, name: str, own: bool) -> bool:
        seen, now = self._seen[name], self._monotonic()
        return now >= seen.retry_at and (own or now - seen.since >= self._stable_seconds)

    def _deal_with(self, name: str, own: bool, desired: DesiredProperties) -> None:
        try:
            with self._files.open(f"{INBOX}/{name}") as stream:
                done = self._judge(name, stream, own, desired)
        except Truncated as error:
            done = self._ends_early(name, error)
        except ContentError as error:
            self._intake.note_refusal(name, error)
            done = True
        except (DependencyError, OSError) as error:  # gone again, or a disk that fails: look again later
            log.warning("%s cannot be read now: %s", name, error)
            done = False
        if done:
            self._remove(name)
        else:
            self._wait(name)

    def _judge(self, name: str, stream: BinaryIO, own: bool, desired: DesiredProperties) -> bool:
        """Whether the bundle is dealt with. Raises: ContentError when there is no transfer to report on."""
        found = self._intake.read_head(stream.read(HEAD_BYTES))
        job = self._intake.admit(found[0], desired, again=not own) if found else None
        if job is None:
            return True
        try:
            bundle = read_bundle(stream, self._trusted)
        except Truncated as error:
            if own:  # it was whole when it came: the disk lost its end, so it is fetched again
                self._reporter.move(job, "receiving", bundle="")
                return True
            return self._ends_early(name, error, job)
        except ContentError as error:
            self._reporter.fail(job, error)
            return True
        return self._apply(name, job, bundle, desired)

    def _apply(self, name: str, job: Job, bundle: OpenedBundle, desired: DesiredProperties) -> bool:
        seen = self._seen[name]
        done = self._applier.apply(job, bundle, desired, verify=not seen.verified)
        seen.verified = True
        return done

    def _ends_early(self, name: str, error: Truncated, job: Job | None = None) -> bool:
        if self._monotonic() - self._seen[name].since < self._incomplete_seconds:
            return False
        if job is not None:
            self._reporter.fail(job, error)
        else:
            self._intake.note_refusal(name, error)
        return True

    def _wait(self, name: str) -> None:
        seen = self._seen[name]
        seen.retry_at = self._monotonic() + seen.backoff.failed()

    def _remove(self, name: str) -> None:
        self._files.remove(f"{INBOX}/{name}.chunks")
        remove_durably(self._files, f"{INBOX}/{name}")
        self._seen.pop(name, None)
