"""See whether devices run what was released to them, as their $edgeAgents report: many by one query of their hub."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from activities.due_work import SERVICE_PAUSE, Run, Subject, pause_of, rest_of
from contracts import work
from contracts.records import Release
from contracts.work import pause_after
from imagedelta.errors import DependencyError
from planning.applied import AgentTwin, Released, Verdict, judge
from services.deps import Deps
from services.ports import Twin
from services.store_port import Confirmation, MemberClaim, MemberDue

AT_ONCE = 100
"""Devices in one query of a hub."""
_ROUNDS = 5
"""Batches that are looked for together, so that one hub's devices fill a query."""
_FAILED_PAUSE = timedelta(hours=1)
_LONGEST_FAILED_PAUSE = timedelta(days=1)
"""What failed is rarely mended within minutes, and a device that is heard from is looked at at once."""

Batch = tuple[str, Sequence[MemberDue]]


class ConfirmMembers:
    """Items are a hub and members of its devices."""

    name = work.CONFIRM
    is_remote = True

    def due(self, deps: Deps, at: datetime, limit: int) -> Sequence[Batch]:
        by_hub: dict[str, list[MemberDue]] = defaultdict(list)
        for one in deps.store.releases.due_to_confirm(at, AT_ONCE * _ROUNDS):
            by_hub[one.hub].append(one)
        return [
            (hub, tuple(these[start : start + AT_ONCE]))
            for hub, these in by_hub.items()
            for start in range(0, len(these), AT_ONCE)
        ]

    def do(self, run: Run, item: Batch) -> None:
        deps, (hub_name, these) = run.deps, item
        claims = deps.store.releases.claim_confirmations(these, deps.settings.claim_lease, deps.now())
        if not claims:
            return
        hub = deps.hubs.get(hub_name)
        ids = {one.device_id: one.hub_device_id or one.device_id for one in these}
        try:
            agents = hub.agents([ids[claim.member.device_id] for claim in claims]) if hub else {}
            run.silence.heard(hub_name)
        except DependencyError as error:
            _unanswered(run, hub_name, claims, error)
            return
        released = deps.store.releases.of_members(claims)
        now, timeout = deps.now(), deps.settings.apply_timeout
        found = [
            _found(claim, released.get(_key(claim)), agents.get(ids[claim.member.device_id]), now, timeout)
            for claim in claims
        ]
        deps.store.releases.confirm(found, now)

    def put_off(self, deps: Deps, item: Batch, until: datetime) -> None:
        for one in item[1]:
            deps.store.releases.put_off(one.set_id, one.device_id, until)

    def subject(self, item: Batch) -> Subject:
        hub, these = item
        return Subject({one.set_id for one in these}, {"hub": hub})


def _unanswered(run: Run, hub: str, claims: Sequence[MemberClaim], error: DependencyError) -> None:
    deps, now, rest = run.deps, run.deps.now(), rest_of(error)
    again = [_unchanged(claim, now + (rest or pause_of(error, _pause(claim)))) for claim in claims]
    deps.store.releases.confirm(again, now)
    if rest is None and run.silence.unheard(hub):
        deps.store.releases.put_off_hub(hub, now + pause_of(error, SERVICE_PAUSE), now)


def _found(
    claim: MemberClaim, release: Release | None, twin: Twin | None, now: datetime, timeout: timedelta
) -> Confirmation:
    """A device that its hub does not know says nothing; neither does what nobody knows to have been released."""
    if release is None or twin is None:
        return _unchanged(claim, now + _pause(claim))
    if not release.content:  # emptied by age: newer ones have replaced it long ago
        return Confirmation(claim, claim.member.state, None, seen_at=claim.member.seen_at)
    agent = AgentTwin(twin.desired, twin.reported, twin.version, twin.seen_at, tuple(twin.configurations))
    verdict = judge(_released(claim, release), agent, now, timeout)
    return Confirmation(
        claim,
        verdict.state,
        _again_at(claim, verdict, now),
        seen_at=verdict.seen_at,
        code=verdict.code,
        detail=verdict.detail,
    )


def _released(claim: MemberClaim, release: Release) -> Released:
    member = claim.member
    return Released(
        member.state,
        release.version,
        _images(release),
        member.released_at or release.released_at,
        member.seen_at,
        release.layer_id,
    )


def _images(release: Release) -> Mapping[str, str]:
    modules = release.content["$edgeAgent"]["properties.desired"]["modules"]
    return {name: str(modules[name]["settings"]["image"]) for name in release.modules}


def _again_at(claim: MemberClaim, verdict: Verdict, now: datetime) -> datetime | None:
    if verdict.final:
        return None
    if verdict.state != claim.member.state:
        return now + _FAILED_PAUSE
    return now + _pause(claim)


def _pause(claim: MemberClaim) -> timedelta:
    if claim.member.state == "apply_failed":
        return pause_after(claim.tries, _FAILED_PAUSE, _LONGEST_FAILED_PAUSE)
    return pause_after(claim.tries)


def _unchanged(claim: MemberClaim, again_at: datetime) -> Confirmation:
    return Confirmation(claim, claim.member.state, again_at, seen_at=claim.member.seen_at)


def _key(claim: MemberClaim) -> tuple[str, str]:
    return claim.member.set_id, claim.member.device_id
