"""Changes that come over HTTP: each is done once for its Idempotency-Key and has one line in the audit log.

The line is written in the transaction that makes the change, and its id follows from the key. So whoever asks again
finds it, whether the process died after the commit, or the answer or the commit's acknowledgement was lost. What was
done is then not done again, and shown as it is by now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from contracts.records import AuditEntry
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers.http import Answer, Request


@dataclass(frozen=True)
class Done:
    """What was changed, for the audit log."""

    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def change(request: Request, deps: Deps, action: str, do: Callable[[], Done], show: Callable[[Done], Answer]) -> Answer:
    """Answer with what ``show`` makes of the change, now made or made before.

    Args:
        do: Changes nothing but the store, since it may be run more than once; all of it or nothing stays.
        show: Only reads.

    Raises: RequestError ``request.idempotency_mismatch`` (422) when the key was given with another request.
    """
    order_id, digest = _order_id(request), _digest(request)

    def once() -> Answer:
        if (earlier := deps.store.audit.entry_of(order_id)) is not None:
            _check_same(earlier, digest, request)
            answer = show(Done(earlier.subject, earlier.detail))
            return replace(answer, headers={**answer.headers, "Idempotency-Replayed": "true"})
        done = do()
        deps.store.audit.record(
            order_id,
            digest,
            who=request.who,
            how=request.caller.text,
            action=action,
            subject=done.subject,
            detail=done.detail,
            at=deps.now(),
        )
        return show(done)

    return deps.store.together(once)


def made_before(request: Request, deps: Deps) -> bool:
    """Whether the change was made, for those that ask an outside system before they make it."""
    return deps.store.audit.entry_of(_order_id(request)) is not None


def _order_id(request: Request) -> str:
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is None:
        return f"order-{uuid4().hex}"
    named = json.dumps([request.caller.text, request.who, request.method, request.path, key])
    return f"order-{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def _digest(request: Request) -> str:
    order = json.dumps(sorted(request.query.items()), default=str)
    return f"sha256:{hashlib.sha256(order.encode() + request.body).hexdigest()}"


def _check_same(earlier: AuditEntry, digest: str, request: Request) -> None:
    if earlier.request_digest != digest:
        raise RequestError(
            f"Idempotency-Key {request.headers['idempotency-key']} was used for another request",
            code="request.idempotency_mismatch",
            status=422,
        )
