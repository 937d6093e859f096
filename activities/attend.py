"""Do what is due: kind by kind in turns, the longest waiting first, until nothing is left or the time is over."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

from activities.confirm_members import ConfirmMembers
from activities.due_work import DueWork, Run
from activities.notice_silent import NoticeSilent
from activities.notices.send import SendNotifications
from activities.read_hubs import ReadHubs, kept_in_step
from activities.release_members import ReleaseMembers
from activities.settle_sets import SettleSets
from activities.sync_twins import SyncTwins
from activities.tidy_layers import TidyLayers
from activities.watching import tell_how_things_stand, working_on
from imagedelta.errors import ImageDeltaError
from services.deps import Deps
from services.watching.metrics import ATTENDED

log = logging.getLogger(__name__)

KINDS: Sequence[DueWork] = (
    *(SettleSets(), ReleaseMembers(), ConfirmMembers(), SendNotifications()),
    *(SyncTwins(), TidyLayers(), ReadHubs(), NoticeSilent()),
)
"""In the order of their turns: what one makes due, the next ones do."""
TURN = 20
"""Items of one kind before the next kind has its turn."""
_PUT_OFF = timedelta(minutes=5)
"""After a failure that nobody foresaw."""


def attend(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"seconds"}`` -> ``{"done": {kind: items}, "more": bool}``; more: the time was over first.

    Any number may attend at once: what each does is claimed in SQL.

    Raises: DependencyError when SQL does not answer; what was begun is due again when its lease is over.
    """
    if synced := kept_in_step(deps):
        deps.store.hubs.expect(synced, deps.now())
    attendance = _Attendance(deps, payload["seconds"])
    more = attendance.work()
    deps.store.attendance.done([kind.name for kind in KINDS], attendance.failures, deps.now())
    tell_how_things_stand(deps)
    return {"done": dict(attendance.counted), "more": more}


class _Attendance:
    def __init__(self, deps: Deps, seconds: float) -> None:
        self.counted: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        """kind -> code of the last failure that nobody foresaw."""
        self._deps = deps
        self._run = Run(deps)
        self._until = time.monotonic() + seconds
        self._failed: set[tuple[str, Any]] = set()
        """Left alone until the next attendance, also when they could not be put off."""

    def work(self) -> bool:
        """True when the time is over and something is due."""
        with _threads(self._deps.settings.attend_threads) as threads:
            while due := self._deps.store.attendance.oldest_due(self._deps.now()):
                if self._is_late():
                    return True
                turns = [self._turn(kind, threads) for kind in KINDS if kind.name in due]
                if not any(turns):
                    return False  # what is left waits for something that others do
        return False

    def _turn(self, kind: DueWork, threads: ThreadPoolExecutor | None) -> bool:
        """Do some of a kind. Whether there were any."""
        found = kind.due(self._deps, self._deps.now(), TURN)
        items = [item for item in found if (kind.name, item) not in self._failed]
        for item, failure in self._each(kind, items, threads if kind.is_remote else None):
            self.counted[kind.name] += 1
            result = "done" if failure is None else "put off"
            self._deps.telemetry.record(ATTENDED, 1, kind=kind.name, result=result)
            if failure is not None:
                self._put_off(kind, item, failure)
        return bool(items)

    def _each(
        self, kind: DueWork, items: Sequence[Any], threads: ThreadPoolExecutor | None
    ) -> Iterator[tuple[Any, Exception | None]]:
        """Every item that was begun in time, and what went wrong with it."""
        if threads is None:
            for item in items:
                if self._is_late():
                    return
                yield item, _failure_of(lambda item=item: self._do(kind, item))  # type: ignore[misc]
            return
        begun = [(item, threads.submit(self._unless_late, kind, item)) for item in items]
        for item, future in begun:
            yield item, _failure_of(future.result)

    def _unless_late(self, kind: DueWork, item: Any) -> None:
        if not self._is_late():
            self._do(kind, item)

    def _do(self, kind: DueWork, item: Any) -> None:
        subject = kind.subject(item)
        with working_on(self._deps, kind.name, subject.sets, **subject.ids):
            kind.do(self._run, item)

    def _is_late(self) -> bool:
        return time.monotonic() >= self._until

    def _put_off(self, kind: DueWork, item: Any, failure: Exception) -> None:
        code = failure.code if isinstance(failure, ImageDeltaError) else "internal"
        log.error("%s %s: %s: %s", kind.name, item, code, failure, exc_info=failure)
        self.failures[kind.name] = code
        self._failed.add((kind.name, item))
        kind.put_off(self._deps, item, self._deps.now() + _PUT_OFF)


def _failure_of(do: Callable[[], None]) -> Exception | None:
    try:
        do()
    except Exception as error:
        return error
    return None


def _threads(number: int) -> AbstractContextManager[ThreadPoolExecutor | None]:
    return ThreadPoolExecutor(number, thread_name_prefix="attend") if number > 1 else nullcontext()
