"""Send one mail: claimed under a lease, sent, marked.

A crash between the server's answer and the mark sends it again with the same Message-ID: no protocol closes that
window. Everything else happens once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagedelta.errors import DependencyError, ImageDeltaError
from services.deps import Deps
from services.ports import Mail


def send_notification(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"notificationId"}`` -> ``{"sent": bool}``; a failure is kept in SQL, which has the mail tried again."""
    notification_id = payload["notificationId"]
    claimed = deps.store.notifications.claim(notification_id, deps.settings.claim_lease, deps.now())
    if claimed is None:
        return {"sent": False}
    try:
        deps.mailer.send(Mail(claimed.message_id, claimed.recipient, claimed.subject, claimed.body))
    except ImageDeltaError as error:
        deps.store.notifications.failed(
            notification_id,
            str(error),
            final=not isinstance(error, DependencyError),
            max_tries=deps.settings.max_mail_tries,
            at=deps.now(),
        )
        return {"sent": False, "code": error.code}
    return {"sent": deps.store.notifications.sent(notification_id, deps.now())}
