"""Deployment sets: ordering, planning, watching, and what an operator may do with them and their members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from contracts.callers import DEPLOY, RELEASE, Role
from contracts.parameters import PAGING, Flag, Parameter, one_of
from contracts.records import DeploymentSet, Member, Unregistered
from contracts.requests import StartDeployment, StartRollback
from contracts.responses import (
    MemberDetail,
    MemberView,
    NotificationView,
    Plan,
    ReleaseView,
    SetDetail,
    SetEvent,
    SetSummary,
    SetView,
    TroubleView,
    UnregisteredView,
    View,
    WaitingView,
    page_of,
)
from contracts.states import FLAWED, MEMBER, RELEASABLE, SET
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers import audit, orders
from triggers.gate import require
from triggers.http import ATTEND, Answer, Handler, Request, deploy_set, not_found
from triggers.operations import Operation, Resource
from triggers.owners import owner_of
from triggers.paging import page_answer

_NOTIFICATIONS = 20
"""Shown with the set; so are these many kinds of trouble."""
_TROUBLES = 20
_TROUBLED = FLAWED | {"conflict"}
_HELD_UP = RELEASABLE
"""Troubled only while something keeps them from being released, which then has a code."""


def start_set(request: Request, deps: Deps) -> Answer:
    body = _owned(request, request.parse(StartDeployment))
    if request.query.get("dryRun") == "true":
        order = orders.read_order(body, deps)
        return Answer(200, _plan(orders.dry_run(order, request.query.get("after"), deps)))
    return _create(request, deps, "set.start", lambda: orders.read_order(body, deps))


def rollback(request: Request, deps: Deps) -> Answer:
    """A new set with what the devices ran before this one was released."""
    given = _owned(request, request.parse(StartRollback) if request.body else StartRollback())
    return _create(request, deps, "set.rollback", lambda: orders.rollback_order(_known(request, deps), given, deps))


_Ordered = TypeVar("_Ordered", StartDeployment, StartRollback)


def _owned(request: Request, order: _Ordered) -> _Ordered:
    """With the owner that the caller's token says, or may name.

    Raises: RequestError ``caller.*`` (403), also for a set that would start on devices by itself without who may
    decide that.
    """
    if isinstance(order, StartDeployment) and order.manifest is not None and order.release != "manual":
        require(request.caller, RELEASE)
    return order.model_copy(update={"owner": owner_of(request.caller, order.owner)})


def _create(request: Request, deps: Deps, action: str, read: Callable[[], orders.Order]) -> Answer:
    def do() -> audit.Done:
        order = read()
        if deps.settings.intake.rules:
            orders.check_origins(order, deps.store.sets.select_devices(order.request), deps)
        created = deps.store.sets.create(
            order.request,
            images=order.images,
            manifest=order.manifest,
            by=request.who,
            at=deps.now(),
            rollback_of=request.params.get("setId"),
            trace=request.trace,
        )
        detail = {
            "name": created.name,
            "workstream": created.workstream,
            "owner": created.owner_email,
            "release": created.release_policy,
            "releaseBy": created.release_by,
        }
        return audit.Done(created.set_id, detail)

    def show(done: audit.Done) -> Answer:
        set_id = done.subject
        return Answer(202, _view(set_id, deps), _location(set_id, 202), start=(deploy_set(set_id),))

    return audit.change(request, deps, action, do, show)


def list_sets(request: Request, deps: Deps) -> Answer:
    page = deps.store.sets.list_sets(
        owner=request.query.get("owner"),
        state=request.query.get("state"),
        workstream=request.query.get("workstream"),
        device_id=request.query.get("device"),
        **request.page(),
    )
    return page_answer(SetSummary, page)


def get_set(request: Request, deps: Deps) -> Answer:
    found = _known(request, deps)
    set_id, sets = found.set_id, deps.store.sets
    told = deps.store.notifications.list_of_set(set_id, limit=_NOTIFICATIONS, after=None)
    detail = SetDetail(
        **_view(set_id, deps).model_dump(exclude={"remedy"}),
        member_states=dict(sets.member_states(set_id)),
        transfer_stages=dict(deps.store.transfers.stages(set_id)),
        troubles=_troubles(set_id, deps),
        waiting=[WaitingView.of(item) for item in sets.waiting(set_id)],
        warnings=[_warning(item) for item in sets.unregistered(set_id)],
        notifications=[NotificationView.of(item) for item in told.items],
        links=_links(set_id),
    )
    return Answer(200, detail)


def _troubles(set_id: str, deps: Deps) -> list[TroubleView]:
    found = deps.store.sets.troubles(set_id, _TROUBLED | _HELD_UP)
    told = [one for one in found if one.state in _TROUBLED or one.code is not None]
    return [TroubleView.of(one) for one in told[:_TROUBLES]]


def members(request: Request, deps: Deps) -> Answer:
    set_id = _known(request, deps).set_id
    state, device_id = request.query.get("state"), request.query.get("device")
    page = deps.store.sets.list_members(set_id, state=state, device_id=device_id, **request.page())
    return page_answer(MemberDetail, page)


def releases(request: Request, deps: Deps) -> Answer:
    return page_answer(ReleaseView, deps.store.releases.list_of_set(_known(request, deps).set_id, **request.page()))


def notifications(request: Request, deps: Deps) -> Answer:
    page = deps.store.notifications.list_of_set(_known(request, deps).set_id, **request.page())
    return page_answer(NotificationView, page)


def events(request: Request, deps: Deps) -> Answer:
    set_id = _known(request, deps).set_id
    return page_answer(SetEvent, deps.store.sets.events(set_id, **request.page()))


def act(name: str, status: int) -> Handler:
    """The handler of POST deployment-sets/{setId}/``name``."""

    def handler(request: Request, deps: Deps) -> Answer:
        set_id = request.params["setId"]
        acts: dict[str, Callable[..., DeploymentSet]] = {
            "approve": deps.store.sets.approve,
            "cancel": deps.store.sets.cancel,
            "release": deps.store.sets.request_release,
            "promote": deps.store.sets.promote,
        }

        def do() -> audit.Done:
            acts[name](set_id, request.who, deps.now())
            return audit.Done(set_id)

        def show(_done: audit.Done) -> Answer:
            return Answer(status, _view(set_id, deps), _location(set_id, status), start=(ATTEND, deploy_set(set_id)))

        return audit.change(request, deps, f"set.{name}", do, show)

    return handler


def act_on_member(name: str, status: int) -> Handler:
    """The handler of POST deployment-sets/{setId}/members/{deviceId}/``name``."""

    def handler(request: Request, deps: Deps) -> Answer:
        set_id, device_id = request.params["setId"], request.params["deviceId"]
        acts: dict[str, Callable[..., Member]] = {
            "exclude": deps.store.sets.exclude_member,
            "retry": deps.store.sets.retry_member,
            "rebase": deps.store.sets.rebase_member,
            "skip": deps.store.sets.skip_member,
        }
        asks_hub = name == "rebase" and not audit.made_before(request, deps)
        extra: tuple[Any, ...] = (_agent_version(device_id, deps),) if asks_hub else ()

        def do() -> audit.Done:
            acts[name](set_id, device_id, *extra, request.who, deps.now())
            return audit.Done(f"{set_id}/{device_id}")

        def show(_done: audit.Done) -> Answer:
            member = MemberView.of(deps.store.sets.member(set_id, device_id))
            return Answer(status, member, _location(set_id, status), start=(ATTEND, deploy_set(set_id)))

        return audit.change(request, deps, f"member.{name}", do, show)

    return handler


def _view(set_id: str, deps: Deps) -> SetView:
    found = deps.store.sets.deployment_set(set_id)
    if found is None:
        raise not_found("deployment set", set_id)
    return SetView.of_set(found, deps.store.sets.figures([set_id]).get(set_id))


def _links(set_id: str) -> dict[str, str]:
    path = f"/api/deployment-sets/{set_id}"
    own = {name: f"{path}/{name}" for name in ("members", "releases", "notifications", "events")}
    return {**own, "transfers": f"/api/transfers?set={set_id}"}


def _plan(planned: Mapping[str, Any]) -> Plan:
    warnings = [_warning(Unregistered(**found)) for found in planned.get("warnings", ())]
    return Plan.model_validate({**planned, "warnings": warnings})


def _warning(found: Unregistered) -> UnregisteredView:
    devices = "1 device that has" if found.devices == 1 else f"{found.devices} devices that have"
    held = ", ".join(found.held)
    detail = f"{found.reference} costs {found.estimated_bytes} bytes on {devices} {held}, which is not registered"
    return UnregisteredView(**vars(found), code="plan.unregistered_source", detail=detail)


def _location(set_id: str, status: int) -> dict[str, str]:
    return {"Location": f"/api/deployment-sets/{set_id}", "Retry-After": "5"} if status == 202 else {}


def _known(request: Request, deps: Deps) -> DeploymentSet:
    found = deps.store.sets.deployment_set(request.params["setId"])
    if found is None:
        raise not_found("deployment set", request.params["setId"])
    return found


def _agent_version(device_id: str, deps: Deps) -> int:
    """``$version`` of the device's deployment now: what a rebased member takes as its ground."""
    device = deps.store.devices.device(device_id)
    hub = deps.hubs.get(device.hub) if device else None
    twin = hub.module_twin(device.hub_device_id, "$edgeAgent") if device and hub else None
    if twin is None:
        raise RequestError(f"the hub has no $edgeAgent of {device_id}", code="request.not_in_hub", status=409)
    return twin.version


def _set_action(name: str, status: int, summary: str, role: Role) -> Resource:
    operation = Operation("POST", act(name, status), summary, {status: SetView}, errors=(404, 409), role=role)
    return Resource(name=f"api_sets_one_{name}", path=f"deployment-sets/{{setId}}/{name}", operations=(operation,))


def _member_action(name: str, status: int, summary: str, role: Role) -> Resource:
    handler = act_on_member(name, status)
    operation = Operation("POST", handler, summary, {status: MemberView}, errors=(404, 409), role=role)
    return Resource(
        name=f"api_sets_one_member_{name}",
        path=f"deployment-sets/{{setId}}/members/{{deviceId}}/{name}",
        operations=(operation,),
    )


def _list(name: str, handler: Handler, summary: str, view: type[View]) -> Resource:
    operation = Operation("GET", handler, summary, {200: page_of(view)}, errors=(404,), query=PAGING)
    return Resource(name=f"api_sets_one_{name}", path=f"deployment-sets/{{setId}}/{name}", operations=(operation,))


RESOURCES = (
    Resource(
        name="api_sets",
        path="deployment-sets",
        operations=(
            Operation(
                "POST",
                start_set,
                "Start a deployment set, or with dryRun only plan it.",
                {200: Plan, 202: SetView},
                errors=(409,),
                query=(
                    Parameter("dryRun", "Plan only: nothing is stored or sent.", Flag),
                    Parameter("after", "With dryRun: `next` of the page before, for further devices."),
                ),
                body=StartDeployment,
                role=DEPLOY,
            ),
            Operation(
                "GET",
                list_sets,
                "Deployment sets, newest first.",
                {200: page_of(SetSummary)},
                query=(
                    *PAGING,
                    Parameter("owner", "Only of this owner, by e-mail."),
                    Parameter(
                        "state",
                        "Only in this state; open for all that have not ended.",
                        one_of(("open", *sorted(SET.states))),
                    ),
                    Parameter("workstream", "Only of this workstream."),
                    Parameter("device", "Only those that this device is a member of."),
                ),
            ),
        ),
    ),
    Resource(
        name="api_sets_one",
        path="deployment-sets/{setId}",
        operations=(
            Operation(
                "GET", get_set, "A set: what it costs, how far it is, what is wrong.", {200: SetDetail}, errors=(404,)
            ),
        ),
    ),
    Resource(
        name="api_sets_one_members",
        path="deployment-sets/{setId}/members",
        operations=(
            Operation(
                "GET",
                members,
                "The devices of a set, by id.",
                {200: page_of(MemberDetail)},
                errors=(404,),
                query=(
                    *PAGING,
                    Parameter("state", "Only members in this state.", one_of(sorted(MEMBER.states))),
                    Parameter("device", "Only this one."),
                ),
            ),
        ),
    ),
    _list("releases", releases, "Manifests that were set because of a set, by device.", ReleaseView),
    _list("notifications", notifications, "Mails to the owner of a set, newest first.", NotificationView),
    _list("events", events, "Everything that happened to the set, its members and transfers, oldest first.", SetEvent),
    Resource(
        name="api_sets_one_rollback",
        path="deployment-sets/{setId}/rollback",
        operations=(
            Operation(
                "POST",
                rollback,
                "A new set with what the devices ran before this one.",
                {202: SetView},
                errors=(404, 409),
                body=StartRollback,
                body_required=False,
                role=RELEASE,
            ),
        ),
    ),
    _set_action("approve", 202, "Approve a set that waits because of its cost.", RELEASE),
    _set_action("cancel", 200, "Cancel a set; bundles that no other set needs are withdrawn.", DEPLOY),
    _set_action("release", 202, "Release a set of the policy manual; 409 says what is missing.", RELEASE),
    _set_action("promote", 202, "Release to all devices after the canaries.", RELEASE),
    _member_action("exclude", 200, "Go on without this device.", DEPLOY),
    _member_action("retry", 202, "Try a failed device again.", DEPLOY),
    _member_action("rebase", 202, "Release over what someone else has set meanwhile.", RELEASE),
    _member_action("skip", 200, "Leave a device in conflict as it is.", DEPLOY),
)
