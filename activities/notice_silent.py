"""Notice devices that are not heard from as they should: marked, and told once to the owners who wait for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from activities.due_work import Run, Subject
from contracts import work
from services.deps import Deps

AT_ONCE = 200


class NoticeSilent:
    """Items are batches of devices."""

    name = work.SILENCE
    is_remote = False

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[tuple[str, ...]]:
        found = deps.store.devices.to_notice(at, AT_ONCE)
        return [found] if found else []

    def do(self, run: Run, device_ids: tuple[str, ...]) -> None:
        run.deps.store.devices.notice_silent(device_ids, run.deps.now())

    def put_off(self, deps: Deps, device_ids: tuple[str, ...], until: datetime) -> None:
        deps.store.devices.put_off_silence(device_ids, until)

    def subject(self, device_ids: tuple[str, ...]) -> Subject:
        return Subject()
