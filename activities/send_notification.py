"""Send one mail: claimed under a lease, put into words, sent, marked.

A crash between the server's answer and the mark sends it again with the same Message-ID: no protocol closes that
window. Everything else happens once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activities.mail_kinds import KINDS, Facts
from activities.mail_text import mail_text
from contracts.records import Notification
from imagedelta.errors import DependencyError, ImageDeltaError
from services.deps import Deps
from services.ports import Mail


def send_notification(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"notificationId"}`` -> ``{"sent": bool}``; a failure is kept in SQL, which has the mail tried again."""
    notification_id = payload["notificationId"]
    claimed = deps.store.notifications.claim(notification_id, deps.settings.claim_lease, deps.now())
    if claimed is None:
        return {"sent": False}
    text = _text(deps, claimed)
    if text is None:
        deps.store.notifications.drop(notification_id)
        return {"sent": False}
    try:
        deps.mailer.send(Mail(claimed.message_id, claimed.recipient, *text))
    except ImageDeltaError as error:
        deps.store.notifications.failed(
            notification_id,
            str(error),
            final=not isinstance(error, DependencyError),
            max_tries=deps.settings.max_mail_tries,
            at=deps.now(),
        )
        return {"sent": False, "code": error.code}
    return {"sent": deps.store.notifications.sent(notification_id, *text, deps.now())}


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
