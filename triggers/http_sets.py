"""Deployment sets: ordering, planning, watching, and what an operator may do with them and their members."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
    SetView,
    UnregisteredView,
    WaitingView,
    page_of,
)
from contracts.states import SET
from imagedelta.errors import RequestError
from services.deps import Deps
from triggers import audit, orders
from triggers.http import SWEEP, Answer, Handler, Request, deploy_set, not_found
from triggers.operations import Operation, Resource
from triggers.paging import page_answer


def start_set(request: Request, deps: Deps) -> Answer:
    order = orders.read_order(request.parse(StartDeployment), deps)
    if request.query.get("dryRun") == "true":
        return Answer(200, Plan.model_validate(orders.dry_run(order, deps)))
    created = deps.store.sets.create(
        order.request, images=order.images, manifest=order.manifest, by=request.who, at=deps.now()
    )
    return _accepted(request, deps, "set.start", created)


def rollback(request: Request, deps: Deps) -> Answer:
    """A new set with what the devices ran before this one was released."""
    given = request.parse(StartRollback) if request.body else StartRollback()
    order = orders.rollback_order(_known(request, deps), given, deps)
    created = deps.store.sets.create(
        order.request,
        images=order.images,
        manifest=order.manifest,
        by=request.who,
        at=deps.now(),
        rollback_of=request.params["setId"],
    )
    return _accepted(request, deps, "set.rollback", created)


def list_sets(request: Request, deps: Deps) -> Answer:
    page = deps.store.sets.list_sets(
        owner=request.query.get("owner"),
        state=request.query.get("state"),
        workstream=request.query.get("workstream"),
        **request.page(),
    )
    figures = deps.store.sets.figures([item.set_id for item in page.items])
    items = [SetView.of_set(item, figures.get(item.set_id)) for item in page.items]
    return Answer(200, page_of(SetView).model_validate({"items": items, "next": page.next}))


def get_set(request: Request, deps: Deps) -> Answer:
    found = _known(request, deps)
    set_id, sets = found.set_id, deps.store.sets
    waiting = sets.waiting(set_id)
    detail = SetDetail(
        **_view(found, deps).model_dump(exclude={"remedy"}),
        members=_members(set_id, waiting, deps),
        member_states=dict(sets.member_states(set_id)),
        transfer_stages=dict(deps.store.transfers.stages(set_id)),
        waiting=_waiting(waiting),
        warnings=[_warning(item) for item in sets.unregistered(set_id)],
        notifications=[NotificationView.of(item) for item in deps.store.notifications.of_set(set_id)],
        releases=[ReleaseView.of(item) for item in deps.store.releases.of_set(set_id)],
    )
    return Answer(200, detail)


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
        changed = acts[name](set_id, request.who, deps.now())
        audit.record(request, deps, f"set.{name}", set_id)
        return Answer(status, _view(changed, deps), _location(set_id, status), start=(SWEEP, deploy_set(set_id)))

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
        extra: tuple[Any, ...] = (_agent_version(device_id, deps),) if name == "rebase" else ()
        member = acts[name](set_id, device_id, *extra, request.who, deps.now())
        audit.record(request, deps, f"member.{name}", f"{set_id}/{device_id}")
        return Answer(status, MemberView.of(member), _location(set_id, status), start=(SWEEP, deploy_set(set_id)))

    return handler


def _accepted(request: Request, deps: Deps, action: str, created: DeploymentSet) -> Answer:
    detail = {"name": created.name, "workstream": created.workstream, "owner": created.owner_email}
    audit.record(request, deps, action, created.set_id, detail)
    return Answer(202, _view(created, deps), _location(created.set_id, 202), start=(deploy_set(created.set_id),))


def _view(found: DeploymentSet, deps: Deps) -> SetView:
    return SetView.of_set(found, deps.store.sets.figures([found.set_id]).get(found.set_id))


def _members(set_id: str, waiting: Mapping[str, str], deps: Deps) -> list[MemberDetail]:
    figures = deps.store.sets.figures_of_members(set_id)
    return [
        MemberDetail(
            **MemberView.of(member).model_dump(exclude={"remedy"}),
            waits_for=waiting.get(member.device_id),
            planned_bytes=its.planned_bytes if its else None,
            sent_bytes=its.sent_bytes if its else 0,
        )
        for member in deps.store.sets.members(set_id)
        for its in [figures.get(member.device_id)]
    ]


def _waiting(waiting: Mapping[str, str]) -> list[WaitingView]:
    devices: dict[str, list[str]] = {}
    for device_id, code in waiting.items():
        devices.setdefault(code, []).append(device_id)
    return [WaitingView(code=code, devices=len(ids), example=ids[0]) for code, ids in sorted(devices.items())]


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
    twin = hub.module_twin(device_id, "$edgeAgent") if hub else None
    if twin is None:
        raise RequestError(f"the hub has no $edgeAgent of {device_id}", code="request.not_in_hub", status=409)
    return twin.version


def _set_action(name: str, status: int, summary: str) -> Resource:
    operation = Operation("POST", act(name, status), summary, {status: SetView}, errors=(404, 409))
    return Resource(name=f"api_sets_one_{name}", path=f"deployment-sets/{{setId}}/{name}", operations=(operation,))


def _member_action(name: str, status: int, summary: str) -> Resource:
    operation = Operation("POST", act_on_member(name, status), summary, {status: MemberView}, errors=(404, 409))
    return Resource(
        name=f"api_sets_one_member_{name}",
        path=f"deployment-sets/{{setId}}/members/{{deviceId}}/{name}",
        operations=(operation,),
    )


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
                query=(Parameter("dryRun", "Plan only: nothing is stored or sent.", Flag),),
                body=StartDeployment,
            ),
            Operation(
                "GET",
                list_sets,
                "Deployment sets.",
                {200: page_of(SetView)},
                query=(
                    *PAGING,
                    Parameter("owner", "Only of this owner, by e-mail."),
                    Parameter("state", "Only in this state.", one_of(sorted(SET.states))),
                    Parameter("workstream", "Only of this workstream."),
                ),
            ),
        ),
    ),
    Resource(
        name="api_sets_one",
        path="deployment-sets/{setId}",
        operations=(
            Operation("GET", get_set, "A set with its members and what came of it.", {200: SetDetail}, errors=(404,)),
        ),
    ),
    Resource(
        name="api_sets_one_events",
        path="deployment-sets/{setId}/events",
        operations=(
            Operation(
                "GET",
                events,
                "Everything that happened to the set, its members and transfers, oldest first.",
                {200: page_of(SetEvent)},
                errors=(404,),
                query=PAGING,
            ),
        ),
    ),
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
            ),
        ),
    ),
    _set_action("approve", 202, "Approve a set that waits because of its cost."),
    _set_action("cancel", 200, "Cancel a set; bundles that no other set needs are withdrawn."),
    _set_action("release", 202, "Release a set of the policy manual; 409 says what is missing."),
    _set_action("promote", 202, "Release to all devices after the canaries."),
    _member_action("exclude", 200, "Go on without this device."),
    _member_action("retry", 202, "Try a failed device again."),
    _member_action("rebase", 202, "Release over what someone else has set meanwhile."),
    _member_action("skip", 200, "Leave a device in conflict as it is."),
)
