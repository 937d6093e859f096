"""Send the mails that are due: each claimed, put into words, sent, marked.

A crash between the server's answer and the mark sends it again with the same Message-ID: no protocol closes that
window. Everything else happens once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from activities.due_work import SERVICE_PAUSE, Run, pause_of
from activities.mail_kinds import KINDS, Facts
from activities.mail_text import mail_text
from contracts import work
from contracts.records import Notification
from contracts.work import pause_after
from imagedelta.errors import DependencyError, ImageDeltaError
from services.deps import Deps
from services.ports import Mail

_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=6)
_MAX_DETAIL = 500
_SERVER = "mail server"


class SendMails:
    """Items are notifications."""

    name = work.NOTIFY
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[str]:
        return deps.store.notifications.due(at, limit)

    def do(self, run: Run, notification_id: str) -> None:
        deps = run.deps
        lease, tries = deps.settings.claim_lease, deps.settings.max_mail_tries
        claimed = deps.store.notifications.claim(notification_id, lease, tries, deps.now())
        if claimed is None:
            return
        text = _text(deps, claimed)
        if text is None:
            deps.store.notifications.drop(notification_id)
            return
        try:
            deps.mailer.send(Mail(claimed.message_id, claimed.recipient, *text))
        except Exception as error:  # whatever a mail library raises, a mail is tried a number of times and no more
            _failed(run, claimed, error)
        else:
            run.silence.heard(_SERVER)
            deps.store.notifications.sent(notification_id, *text, deps.now())

    def put_off(self, deps: Deps, notification_id: str, until: datetime) -> None:
        """Its claim runs out by itself, and it is tried no more often than any other."""


def _failed(run: Run, claimed: Notification, error: Exception) -> None:
    """Refused for good: dead. Else it is tried again; one that was claimed often enough dies at its next claim."""
    deps, now = run.deps, run.deps.now()
    detail = f"{error}" if isinstance(error, ImageDeltaError) else f"{type(error).__name__}: {error}"
    final = claimed.tries >= deps.settings.max_mail_tries or (
        isinstance(error, ImageDeltaError) and not isinstance(error, DependencyError)
    )
    pause = pause_after(claimed.tries, _FIRST_PAUSE, _LONGEST_PAUSE)
    if isinstance(error, DependencyError):
        pause = pause_of(error, pause)
        if run.silence.unheard(_SERVER):
            deps.store.notifications.put_off(now + pause_of(error, SERVICE_PAUSE), now)
    deps.store.notifications.failed(claimed.notification_id, detail[:_MAX_DETAIL], None if final else now + pause)


def _text(deps: Deps, claimed: Notification) -> tuple[str, str] | None:
    """Read after the claim: what happens from now on is told by the next mail of the kind. None: it is no longer so."""
    set_id, sets = claimed.set_id, deps.store.sets
    of = sets.deployment_set(set_id)
    if of is None:
        return None
    kind = KINDS[claimed.kind]
    facts = Facts(
        of=of,
        members=sets.member_states(set_id),
        figures=sets.figures([set_id]).get(set_id),
        troubles=tuple(filter(kind.names, sets.troubles(set_id, kind.states))),
        waiting=sets.waiting(set_id) if claimed.kind == "overdue" else (),
    )
    return mail_text(kind, facts) if kind.is_so(facts) else None
