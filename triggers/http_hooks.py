"""What registries tell of pushes: images of repositories that the settings name are registered by themselves.

The endpoint is anonymous to host and gate, since a registry has neither a function key's person nor a token: it shows a
secret that it shares with us. Whatever it tells, only what lies in a configured registry is fetched.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import replace

from contracts.callers import DEPLOY, Caller
from contracts.registry_events import PushEvent, RegistryNotice
from contracts.requests import RegisterImage
from contracts.responses import NoticeView, PassedOverView, RegistrationView
from imagedelta.archives.oci import INDEX_TYPES, MANIFEST_TYPES
from imagedelta.errors import RequestError
from imagedelta.names import parse_name
from services.deps import Deps
from triggers import audit
from triggers.http import Answer, Request, register_image
from triggers.operations import Operation, Resource

SECRET = "x-imagedelta-secret"  # noqa: S105 - a header's name


def take_notice(request: Request, deps: Deps) -> Answer:
    """Each event is done once, however often it is told; one that is passed over stops no other."""
    _check_secret(request, deps)
    taken, passed_over = [], []
    for event in request.parse(RegistryNotice).all:
        try:
            taken.append(_registered(event, request, deps))
        except RequestError as error:
            passed_over.append(PassedOverView(event=event.id, code=error.code, detail=str(error)))
    return Answer(
        202,
        NoticeView(registrations=taken, passed_over=passed_over),
        start=tuple(register_image(view.registration_id) for view in taken if view.state == "queued"),
    )


def _check_secret(request: Request, deps: Deps) -> None:
    wanted, shown = deps.settings.intake.hook_secret, request.headers.get(SECRET, "")
    if not wanted or not hmac.compare_digest(wanted.encode(), shown.encode()):
        raise RequestError("the secret of registries' webhooks is missing or wrong", code="caller.secret", status=401)


def _registered(event: PushEvent, request: Request, deps: Deps) -> RegistrationView:
    """Raises: RequestError with the reason why nothing is registered."""
    registry = _registry_of(event, deps)
    order = RegisterImage(registry=event.pinned, reference=event.named)
    once = replace(
        request,
        headers={**request.headers, "idempotency-key": f"{event.request.host} {event.id}"},
        body=json.dumps([event.pinned, event.named]).encode(),
        caller=Caller("registry", f"registry {registry}"),
    )

    def do() -> audit.Done:
        registration = deps.store.images.request_registration(order, once.who, deps.now(), event.id)
        return audit.Done(registration.registration_id, {**registration.origin, "reference": event.named})

    def show(done: audit.Done) -> Answer:
        found = deps.store.images.registration(done.subject)
        if found is None:
            raise RequestError(f"registration {done.subject} is forgotten by now", code="request.not_found", status=404)
        return Answer(202, RegistrationView.of(found))

    answer = audit.change(once, deps, "image.pushed", do, show)
    return RegistrationView.model_validate(answer.body)


def _registry_of(event: PushEvent, deps: Deps) -> str:
    """The configured registry that an event is of, if it is one to act upon."""
    if event.action != "push" or event.target.media_type not in (*MANIFEST_TYPES, *INDEX_TYPES):
        raise _passed(f"{event.action or 'nothing'} of {event.target.media_type or 'nothing'} is no pushed image")
    if not event.target.tag or not event.id:
        raise _passed("it has no tag: an image index that names it has one")
    parse_name(event.pinned)
    registry = deps.settings.intake.registry_of(event.named)
    if not registry.takes_by_itself(event.target.repository):
        raise _passed(f"{event.target.repository} is not among the repositories of {registry.name} that are automatic")
    return registry.name


def _passed(why: str) -> RequestError:
    return RequestError(why, code="request.not_automatic")


RESOURCES = (
    Resource(
        name="api_hooks_registry",
        path="hooks/registry",
        operations=(
            Operation(
                "POST",
                take_notice,
                "What a registry says was pushed; the header X-ImageDelta-Secret opens it.",
                {202: NoticeView},
                errors=(401,),
                body=RegistryNotice,
                media_types=("application/json", "application/vnd.docker.distribution.events.v1+json"),
                role=DEPLOY,
            ),
        ),
        anonymous=True,
    ),
)
