"""Bundles in the inbox folder: from our downloader, or dropped by any file transfer tool.

A foreign tool may write in place, stall for days, deliver twice or in any order. So a foreign file is taken
when its size has been the same for a while, names ending in ``.part`` or ``.tmp`` are left alone, and one
that ends early may go on growing for a day before it is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from contracts.messages import DesiredProperties
from edge_module.apply import Applier
from edge_module.backoff import Backoff
from edge_module.carried import Carried
from edge_module.downloader import INBOX
from edge_module.files import Files, remove_durably
from edge_module.intake import Intake
from edge_module.journal import Job, Journal
from edge_module.refused import RefusedFiles
from edge_module.reporting import Reporter
from edge_module.verdict import DONE, WAIT, Done, Refused, Verdict, Wait
from imagedelta.bundles import HEAD_BYTES, BundleHead
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, Truncated

SUFFIXES = (".bundle", ".imgbundle")
log = logging.getLogger("imagedelta.inbox")


@dataclass(frozen=True)
class Patience:
    """How long files of other tools are given."""

    monotonic: Callable[[], float]
    stable_seconds: float
    """A file is taken when its size has been the same for so long."""
    incomplete_seconds: float
    """A file that ends early is refused when it has not grown for so long."""


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
        carried: Carried,
        refused: RefusedFiles,
        patience: Patience,
    ) -> None:
        self._files = files
        self._journal = journal
        self._reporter = reporter
        self._intake = intake
        self._applier = applier
        self._carried = carried
        self._refused = refused
        self._patience = patience
        self._monotonic = patience.monotonic
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
        names = [name for name in self._files.list(INBOX) if name.endswith(SUFFIXES)]
        return [name for name in names if self._files.size(f"{INBOX}/{name}") is not None]

    def _look(self, name: str) -> _Seen:
        size = self._files.size(f"{INBOX}/{name}") or 0
        seen = self._seen.get(name)
        return seen if seen is not None and seen.size == size else _Seen(size, self._monotonic())

    def _is_ready(self, name: str, own: bool) -> bool:
        seen, now = self._seen[name], self._monotonic()
        return now >= seen.retry_at and (own or now - seen.since >= self._patience.stable_seconds)

    def _deal_with(self, name: str, own: bool, desired: DesiredProperties) -> None:
        match self._verdict(name, own, desired):
            case Done():
                self._remove(name)
            case Wait():
                self._wait(name)
            case Refused(error):
                self._refused.keep(f"{INBOX}/{name}", error)
                self._remove(name)

    def _verdict(self, name: str, own: bool, desired: DesiredProperties) -> Verdict:
        try:
            with self._files.open(f"{INBOX}/{name}") as stream:
                return self._judge(name, stream, own, desired)
        except Truncated as error:
            return self._ends_early(name, error)
        except ContentError as error:
            return self._refuse(name, error)
        except (DependencyError, OSError) as error:  # gone again, or a disk that is full or fails: look again later
            log.warning("%s waits: %s", name, error)
            return WAIT

    def _judge(self, name: str, stream: BinaryIO, own: bool, desired: DesiredProperties) -> Verdict:
        """Raises: ContentError when there is no transfer to report on."""
        found = self._intake.read_head(stream.read(HEAD_BYTES))
        if isinstance(found, Refused):
            return found
        head, _ = found
        if head.is_for_any_device:
            return self._apply_carried(name, head, stream, desired)
        job = self._intake.admit(head, desired, again=not own)
        if not isinstance(job, Job):
            return job
        try:
            bundle = self._intake.open(stream)
        except Truncated as error:
            if own:  # it was whole when it came: the disk lost its end, so it is fetched again
                self._reporter.move(job, "receiving", bundle="")
                return DONE
            return self._ends_early(name, error, job)
        except ContentError as error:
            self._reporter.fail(job, error)
            return Refused(error)
        return self._applier.apply(job, f"{INBOX}/{name}", bundle, desired, verify=self._is_unverified(name))

    def _apply_carried(self, name: str, head: BundleHead, stream: BinaryIO, desired: DesiredProperties) -> Verdict:
        verify = self._is_unverified(name)
        try:
            self._carried.apply(f"{INBOX}/{name}", head, lambda: self._intake.open(stream), desired, verify=verify)
        except (ImageDeltaError, OSError):
            raise
        except Exception as error:
            log.exception("%s: applying failed in a way nobody foresaw", name)
            return self._refuse(name, ImageDeltaError(f"{type(error).__name__}: {error}"))
        return DONE

    def _is_unverified(self, name: str) -> bool:
        """Whether the patch has to be held against its digest: once in a run is enough."""
        seen = self._seen[name]
        verified, seen.verified = seen.verified, True
        return not verified

    def _ends_early(self, name: str, error: Truncated, job: Job | None = None) -> Verdict:
        if self._monotonic() - self._seen[name].since < self._patience.incomplete_seconds:
            return WAIT
        if job is None:
            return self._refuse(name, error)
        self._reporter.fail(job, error)
        return Refused(error)

    def _refuse(self, name: str, error: ImageDeltaError) -> Refused:
        """A refusal without a transfer to report on."""
        self._intake.note_refusal(name, error)
        return Refused(error)

    def _wait(self, name: str) -> None:
        seen = self._seen[name]
        seen.retry_at = self._monotonic() + seen.backoff.failed()

    def _remove(self, name: str) -> None:
        self._files.remove(f"{INBOX}/{name}.chunks")
        remove_durably(self._files, f"{INBOX}/{name}")
        self._seen.pop(name, None)
