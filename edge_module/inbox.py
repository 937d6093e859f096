"""The inbox folder: bundles from our downloader, from any file transfer tool, from a stick that crew plugged in.

The folder belongs to whoever fills it. A tool may write in place, preallocate, leave holes, write in several streams,
stall for days, deliver twice or in any order. So a foreign file is looked at when it has not changed for a while, and
again when it has changed. It is removed when it is dealt with and whole; an unfinished one only when it has not changed
for a day or longer and its room is needed. Names ending in ``.part`` or ``.tmp`` are left alone.
Not here: what a file is worth (edge_module.judge).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.messages import DesiredProperties
from edge_module.backoff import Backoff
from edge_module.fetching import INBOX
from edge_module.files import Files, Stamp, prepare_folder, remove_durably
from edge_module.journal import Journal
from edge_module.judge import Case, Judge
from edge_module.refused import RefusedFiles
from edge_module.troubles import Troubles
from edge_module.verdict import INCOMPLETE, STOPPED, Done, Refused, Verdict, Wait, verdict_of
from imagedelta.errors import ImageDeltaError

SUFFIXES = (".bundle", ".imgbundle")
TELL_SECONDS = 3600.0
"""An unfinished file that has not changed for so long is told as ``blocked``: somebody should look at its tool."""
GIVE_WAY_SECONDS = 600.0
"""Unfinished files give way to others one by one, at most one in so long: one may have been enough."""
_LOOKING_SHARE = 20
"""Looking at a file takes one part of so many of the time, however often a tool touches it."""
log = logging.getLogger("imagedelta.inbox")


@dataclass(frozen=True)
class Patience:
    """How long files of other tools are given."""

    monotonic: Callable[[], float]
    stable_seconds: float
    """A file is looked at when it has not changed for so long."""
    incomplete_seconds: float
    """An unfinished file that has not changed for so long may give way to another that needs its room."""


@dataclass
class _File:
    """What is known of one file since the module started."""

    name: str
    since: float
    """When it was first seen like this (monotonic seconds)."""
    case: Case
    verdict: Verdict | None = None
    retry_at: float = 0.0
    """Not looked at before, changed or not."""
    again_at: float = 0.0
    """Not looked at before, unless it changes."""
    told: bool = False
    faults: Backoff = field(default_factory=lambda: Backoff(5.0, 300.0))
    rests: Backoff = field(default_factory=lambda: Backoff(3600.0, 86_400.0))

    @property
    def path(self) -> str:
        return self.case.path

    @property
    def is_unfinished(self) -> bool:
        return isinstance(self.verdict, Wait) and self.verdict.code == INCOMPLETE

    @property
    def is_left_alone(self) -> bool:
        return self.is_unfinished or (isinstance(self.verdict, Done | Refused) and self.again_at > 0)


class Inbox:
    def __init__(
        self,
        files: Files,
        journal: Journal,
        judge: Judge,
        refused: RefusedFiles,
        troubles: Troubles,
        patience: Patience,
    ) -> None:
        self._files = files
        self._journal = journal
        self._judge = judge
        self._refused = refused
        self._troubles = troubles
        self._patience = patience
        self._monotonic = patience.monotonic
        self._known: dict[str, _File] = {}
        self._next_give_way = 0.0
        prepare_folder(files, INBOX)

    @property
    def waiting(self) -> int:
        """Files that were there at the last look."""
        return len(self._known)

    @property
    def is_idle(self) -> bool:
        """Nothing is here but what was looked at and is somebody else's to finish."""
        known = dict(self._known)
        return all(name in known and known[name].is_left_alone for name in self._stamps())

    def step(self, desired: DesiredProperties) -> bool:
        """Deal with the first file that is ready; returns whether there was one."""
        self._look_around()
        for file in self._known.values():
            self._tell_if_long(file)
        ready = next((file for file in self._known.values() if self._is_ready(file)), None)
        if ready is None:
            return False
        self._deal_with(ready, desired)
        return True

    def give_way(self) -> bool:
        """Remove the unfinished file that has not changed for longest, if that is long enough."""
        now = self._monotonic()
        old = [each for each in self._known.values() if each.is_unfinished and self._is_abandoned(each)]
        if not old or now < self._next_give_way:
            return False
        self._next_give_way = now + GIVE_WAY_SECONDS
        file = min(old, key=lambda each: each.since)
        log.warning("%s is removed, unfinished: its room is needed", file.path)
        self._remove(file)
        if file.case.order is not None:
            file.case.order.waits(Wait("bundle.gave_way", f"{file.name} was unfinished, and its room was needed"))
        return True

    # What is in the folder.

    def _stamps(self) -> dict[str, Stamp]:
        """Regular files only: a pipe or folder that somebody puts there would hold everything up."""
        names = [name for name in self._files.list(INBOX) if name.endswith(SUFFIXES)]
        return {name: stamp for name in names if (stamp := self._files.stamp(f"{INBOX}/{name}")) is not None}

    def _look_around(self) -> None:
        stamps = self._stamps()
        own = {job.bundle for job in self._journal.jobs() if job.bundle and not job.done}
        for name in self._known.keys() - stamps.keys():
            self._troubles.clear(name)
        self._known = {name: self._file(name, stamp, name in own) for name, stamp in stamps.items()}

    def _file(self, name: str, stamp: Stamp, own: bool) -> _File:
        known, now = self._known.get(name), self._monotonic()
        case = Case(f"{INBOX}/{name}", stamp, own)
        if known is None:
            return _File(name, now, case)
        if (known.case.stamp, known.case.own) == (stamp, own):
            return known
        case.order, case.begun, case.answered = known.case.order, known.case.begun, known.case.answered
        return _File(name, now, case, retry_at=known.retry_at)

    def _is_ready(self, file: _File) -> bool:
        now = self._monotonic()
        settled = file.case.own or now - file.since >= self._patience.stable_seconds
        return settled and now >= max(file.retry_at, file.again_at)

    def _is_abandoned(self, file: _File) -> bool:
        return self._monotonic() - file.since >= self._patience.incomplete_seconds

    # Dealing with one of them.

    def _deal_with(self, file: _File, desired: DesiredProperties) -> None:
        started = self._monotonic()
        if not isinstance(file.verdict, Done | Refused):
            file.verdict = self._judge.judge(file.case, desired)
        match file.verdict:
            case Wait(code, detail):
                self._wait(file, code, detail, self._monotonic() - started)
            case _:
                file.case.answered = True
                self._troubles.clear(file.name)
                self._dispose(file)

    def _wait(self, file: _File, code: str, detail: str, took: float) -> None:
        now = self._monotonic()
        if code == STOPPED:  # whoever stopped it says so
            file.retry_at = now + 1.0
            return
        if self._troubles.note(file.name, code, detail):
            log.warning("%s waits (%s): %s", file.path, code, detail)
        if code == INCOMPLETE:
            file.retry_at = now + _LOOKING_SHARE * took
            file.again_at = now + file.rests.failed()
            return
        file.retry_at = now + file.faults.failed()
        self._tell(file)

    def _tell_if_long(self, file: _File) -> None:
        if file.is_unfinished and not file.told and self._monotonic() - file.since >= TELL_SECONDS:
            self._tell(file)

    def _tell(self, file: _File) -> None:
        """As ``blocked``. A disk that is too full for that leaves it to the reported properties."""
        if isinstance(file.verdict, Wait) and file.case.order is not None:
            try:
                file.case.order.waits(file.verdict)
            except ImageDeltaError as error:
                log.warning("%s: its wait cannot be reported: %s", file.path, error)
                return
        file.told = True

    def _dispose(self, file: _File) -> None:
        """A tool's file only when it is whole: one that vanishes while it is written would be sent once more."""
        try:
            if not (file.case.own or self._is_abandoned(file) or self._judge.is_whole(file.path)):
                file.again_at = file.since + self._patience.incomplete_seconds
                return
            if isinstance(file.verdict, Refused):
                self._refused.keep(file.path, file.verdict.error)
            self._remove(file)
        except (ImageDeltaError, OSError) as error:
            file.retry_at = self._monotonic() + file.faults.failed()
            hindered = verdict_of(error, "device")
            if isinstance(hindered, Wait) and self._troubles.note(file.name, hindered.code, hindered.detail):
                log.warning("%s cannot be removed (%s): %s", file.path, hindered.code, hindered.detail)

    def _remove(self, file: _File) -> None:
        self._files.remove(f"{file.path}.chunks")
        remove_durably(self._files, file.path)
        self._troubles.clear(file.name)
        self._known.pop(file.name, None)
