"""Requests and answers as handlers see them: plain data, no Functions types.

A handler is a plain function ``(request, deps) -> Answer``; the orchestrations it wants are named in the
answer and started after it, so that it never waits on Durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from contracts.requests import RequestBody, parse_body
from contracts.responses import View
from imagedelta.errors import RequestError
from services.deps import Deps

MAX_BODY_BYTES = 1 << 20
DEFAULT_LIMIT, MAX_LIMIT = 100, 500

Body = TypeVar("Body", bound=RequestBody)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """Of the URL, from /api on, without the query."""
    params: Mapping[str, str]
    """From the route."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def who(self) -> str:
        """The person a pipeline acts for, else the function key that opened the door."""
        return self.headers.get("x-imagedelta-user", "").strip()[:128] or "function-key"

    def parse(self, model: type[Body]) -> Body:
        """The body as ``model``.

        Raises: RequestError ``request.invalid`` naming the fields that do not fit.
        """
        parsed: Body = parse_body(model, self.body)
        return parsed

    def time(self, name: str, default: datetime) -> datetime:
        text = self.query.get(name)
        if text is None:
            return default
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise RequestError(f"{name} must be a time like 2030-01-31T12:00:00Z, not {text!r}") from error
        if moment.tzinfo is None:
            raise RequestError(f"{name} needs a time zone, e.g. 2030-01-31T12:00:00Z")
        return moment

    def page(self) -> dict[str, Any]:
        """``limit`` and ``after`` as the store's list methods take them."""
        text = self.query.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MAX_LIMIT):
            raise RequestError(f"limit must be a whole number from 1 to {MAX_LIMIT}, not {text!r}")
        return {"limit": int(text), "after": self.query.get("after")}


@dataclass(frozen=True)
class Start:
    """An orchestration that should run; when it runs already there is nothing to do."""

    orchestrator: str
    instance: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    status: int
    body: View | Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    start: tuple[Start, ...] = ()


Handler = Callable[[Request, Deps], Answer]

SWEEP = Start("sweep", "sweep")


def register_image(registration_id: str) -> Start:
    return Start("register_image", f"register-{registration_id}", {"registrationId": registration_id})


def deploy_set(set_id: str) -> Start:
    return Start("deploy_set", f"deploy-{set_id}", {"setId": set_id})


def not_found(kind: str, name: str) -> RequestError:
    return RequestError(f"there is no {kind} {name}", code="request.not_found", status=404)
