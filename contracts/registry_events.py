"""What registries say when something was pushed: Azure's webhooks, and notifications of the CNCF's distribution.

Other fields than these are passed over: they are not ours to refuse.

Source: learn.microsoft.com, "Azure Container Registry webhook reference", push event; distribution,
docs/content/about/notifications.md, "Envelope".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from contracts.requests import RequestBody

MAX_EVENTS = 200
Words = Annotated[str, StringConstraints(max_length=512)]


class _FromOutside(RequestBody):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class PushTarget(_FromOutside):
    media_type: Words = ""
    digest: Words = ""
    repository: Words = ""
    tag: Words | None = None


class PushRequest(_FromOutside):
    host: Words = ""


class PushEvent(_FromOutside):
    """Something happened in a registry."""

    id: Words = ""
    action: Words = ""
    target: PushTarget = PushTarget()
    request: PushRequest = PushRequest()

    @property
    def pinned(self) -> str:
        """The image by digest: what the tag means later changes nothing of it."""
        return f"{self.request.host}/{self.target.repository}@{self.target.digest}"

    @property
    def named(self) -> str:
        return f"{self.request.host}/{self.target.repository}:{self.target.tag}"


class RegistryNotice(PushEvent):
    """One event as Azure's registries send it, or ``events`` as distribution does."""

    events: list[PushEvent] = Field(default_factory=list, max_length=MAX_EVENTS)

    @property
    def all(self) -> list[PushEvent]:
        return self.events or [self]
