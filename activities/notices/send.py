"""Send the notifications that are due: each claimed, put into words, delivered, marked.

A crash between the receiver's answer and the mark sends it again under the same id: no protocol closes that window.
Everything else happens once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from activities.due_work import SERVICE_PAUSE, Run, Subject, pause_of
from activities.notices.channels import CHANNELS, Channel
from activities.notices.kinds import KINDS, Facts
from activities.notices.story import story_of
from activities.watching import working_on
from contracts import work
from contracts.channels import WEBHOOK
from contracts.records import Notification, Waiting
from contracts.work import pause_after
from imagedelta.errors import DependencyError, ImageDeltaError
from services.deps import Deps
from services.watching.metrics import NOTIFICATIONS

log = logging.getLogger(__name__)

_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=6)
_MAX_DETAIL = 500
_SILENCES = frozenset({"dependency.mail", "dependency.webhook"})
"""Codes that speak of a service; any other is about one message."""


class SendNotifications:
    """Items are notifications, of every channel."""

    name = work.NOTIFY
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[str]:
        return deps.store.notifications.due(at, limit)

    def do(self, run: Run, notification_id: str) -> None:
        deps = run.deps
        lease, tries = deps.settings.claim_lease, deps.settings.max_notify_tries
        claimed = deps.store.notifications.claim(notification_id, lease, tries, deps.now())
        if claimed is None:
            return
        with working_on(deps, f"{self.name} {claimed.channel}", [claimed.set_id], set_id=claimed.set_id) as span:
            span.attributes["imagedelta.result"] = result = _send(run, claimed)
        deps.telemetry.record(NOTIFICATIONS, 1, channel=claimed.channel, result=result)

    def put_off(self, deps: Deps, notification_id: str, until: datetime) -> None:
        """Its claim runs out by itself, and it is tried no more often than any other."""

    def subject(self, notification_id: str) -> Subject:
        return Subject(ids={"notification_id": notification_id})


def _send(run: Run, claimed: Notification) -> str:
    """What became of it: sent, dropped, later or dead."""
    deps, channel = run.deps, CHANNELS[claimed.channel]
    message = _message(deps, claimed, channel)
    if message is None:
        deps.store.notifications.drop(claimed.notification_id)
        return "dropped"
    try:
        channel.deliver(deps, message)
    except Exception as error:  # whatever a library raises, a notification is tried a number of times and no more
        return _failed(run, claimed, channel, error)
    run.silence.heard(channel.service)
    deps.store.notifications.sent(claimed.notification_id, message.subject, message.text, deps.now())
    return "sent"


def _waiting(deps: Deps, claimed: Notification) -> tuple[Waiting, ...]:
    """Devices that keep the set waiting: for their first word, or for any."""
    if claimed.kind == "overdue":
        return deps.store.sets.waiting(claimed.set_id)
    return deps.store.sets.silent(claimed.set_id) if claimed.kind == "silent" else ()


def _message(deps: Deps, claimed: Notification, channel: Channel) -> Any:
    """Read after the claim: what happens from now on is told by the next of the kind. None: there is nothing to tell
    (any more), or nobody to be told."""
    set_id, sets = claimed.set_id, deps.store.sets
    of = sets.deployment_set(set_id)
    if of is None or (claimed.channel == WEBHOOK and deps.webhook is None):
        return None
    kind = KINDS[claimed.kind]
    facts = Facts(
        of=of,
        members=sets.member_states(set_id),
        figures=sets.figures([set_id]).get(set_id),
        troubles=tuple(filter(kind.names, sets.troubles(set_id, kind.states))),
        waiting=_waiting(deps, claimed),
    )
    if not kind.is_so(facts):
        return None
    return channel.compose(deps, claimed, facts, story_of(kind, facts, deps.settings.set_page))


def _failed(run: Run, claimed: Notification, channel: Channel, error: Exception) -> str:
    """Refused for good: dead. Else it is tried again; one that was claimed often enough dies at its next claim."""
    deps, now = run.deps, run.deps.now()
    detail = f"{error}" if isinstance(error, ImageDeltaError) else f"{type(error).__name__}: {error}"
    final = claimed.tries >= deps.settings.max_notify_tries or (
        isinstance(error, ImageDeltaError) and not isinstance(error, DependencyError)
    )
    pause = pause_after(claimed.tries, _FIRST_PAUSE, _LONGEST_PAUSE)
    if isinstance(error, DependencyError):
        pause = pause_of(error, pause)
        if _is_silent(run, channel, error):
            until = now + pause_of(error, SERVICE_PAUSE)
            deps.store.notifications.put_off(claimed.channel, until, now)
    log.warning("%s is not delivered by %s: %s", claimed.kind, channel.service, detail)
    deps.store.notifications.failed(claimed.notification_id, detail[:_MAX_DETAIL], None if final else now + pause)
    return "dead" if final else "later"


def _is_silent(run: Run, channel: Channel, error: DependencyError) -> bool:
    """Whether the service is to be left alone: it asks for that, or did not answer several times in a row."""
    if error.code not in _SILENCES:
        run.silence.heard(channel.service)
        return False
    return run.silence.unheard(channel.service) or error.retry_after is not None
