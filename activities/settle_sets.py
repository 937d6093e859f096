"""Sets that follow from what became of their members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from activities.due_work import Run, Subject
from contracts import work
from services.deps import Deps


class SettleSets:
    """Items are sets."""

    name = work.SETTLE
    is_remote = False

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[str]:
        return deps.store.sets.to_settle(at, limit)

    def do(self, run: Run, set_id: str) -> None:
        run.deps.store.sets.settle(set_id, run.deps.now())

    def put_off(self, deps: Deps, set_id: str, until: datetime) -> None:
        deps.store.sets.put_off_settling(set_id, until, deps.now())

    def subject(self, set_id: str) -> Subject:
        return Subject([set_id], {"set_id": set_id})
