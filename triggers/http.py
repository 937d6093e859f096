"""Requests and answers as handlers see them: plain data, no Functions types.

A handler is a plain function ``(request, deps) -> Answer``; the orchestrations it wants are named in the
answer and started after it, so that it never waits on Durable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from contracts.callers import Caller
from contracts.parameters import DEFAULT_LIMIT
from contracts.requests import RequestBody, parse_body
from contracts.responses import View
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers.gate import KEY

MAX_BODY_BYTES = 1 << 20

Body = TypeVar("Body", bound=RequestBody)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """Of the URL, from /api on, without the query."""
    params: Mapping[str, str]
    """From the route."""
    query: Mapping[str, Any]
    """Read as the types that the operation states, once the wrapper has checked them; text before."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    caller: Caller = KEY
    """Of an anonymous operation it is nobody in particular."""
    trace: str | None = None
    """W3C traceparent of the work that the request begins."""

    @property
    def who(self) -> str:
        """The person who calls or for whom a pipeline acts, else what opened the door."""
        return self.caller.who

    def parse(self, model: type[Body]) -> Body:
        """The body as ``model``.

        Raises: RequestError ``request.invalid`` naming the fields that do not fit.
        """
        parsed: Body = parse_body(model, self.body)
        return parsed

    def page(self) -> dict[str, Any]:
        """``limit`` and ``after`` as the store's list methods take them."""
        return {"limit": self.query.get("limit", DEFAULT_LIMIT), "after": self.query.get("after")}


@dataclass(frozen=True)
class Start:
    """An orchestration that should run; when it runs already there is nothing to do."""

    orchestrator: str
    instance: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    status: int
    body: View | Mapping[str, Any] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    start: tuple[Start, ...] = ()


Handler = Callable[[Request, Deps], Answer]

ATTEND = Start("nudge", "nudge")
"""What became due is done now, and not when the timer comes by."""


def register_image(registration_id: str) -> Start:
    return Start("register_image", f"register-{registration_id}", {"registrationId": registration_id})


def deploy_set(set_id: str) -> Start:
    return Start("deploy_set", f"deploy-{set_id}", {"setId": set_id})


def build_patch(patch_id: str) -> Start:
    return Start("build_patch", f"build-{patch_id}", {"patchId": patch_id})


def publish_patch(patch_id: str) -> Start:
    return Start("publish_patch", f"publish-{patch_id}", {"patchId": patch_id})


def not_found(kind: str, name: str) -> RequestError:
    return RequestError(f"there is no {kind} {name}", code="request.not_found", status=404)
