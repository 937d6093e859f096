"""Deployment sets and their members: one method, one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from contracts.records import Cost, DeploymentSet, Device, Figures, Member, Page, Trouble, Unregistered, Waiting
from contracts.requests import StartDeployment
from contracts.states import NEEDS_APPROVAL, OPEN_SET, ORCHESTRATOR
from services.store_port import Decisions, PlanningBegun, Range, Unplanned
from store.devices.silence import silent_of_set
from store.kernel import history
from store.kernel.engine import Database
from store.kernel.moves import move_member, move_set
from store.kernel.paging import each, fetch_page
from store.kernel.schema import members, sets
from store.kernel.tools import as_record
from store.sets import orders, plan, settle, start, views, weigh
from store.sets.cancel import withdraw_part
from store.sets.create import create_set, select_devices
from store.sets.figures import figures_of_members, figures_of_sets
from store.sets.rows import find_set, known_member, known_set, members_of


class SqlSets:
    """Implements services.store_port.Sets."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def create(
        self,
        request: StartDeployment,
        *,
        images: Mapping[str, Mapping[str, str]],
        manifest: Mapping[str, Any] | None,
        by: str,
        at: datetime,
        rollback_of: str | None = None,
        trace: str | None = None,
    ) -> DeploymentSet:
        return self._db.write(
            lambda connection: create_set(connection, request, images, manifest, by, at, rollback_of, trace)
        )

    def select_devices(self, request: StartDeployment) -> tuple[Device, ...]:
        return self._db.read(lambda connection: select_devices(connection, request))

    def deployment_set(self, set_id: str) -> DeploymentSet | None:
        return self._db.read(lambda connection: find_set(connection, set_id))

    def ran_before(self, set_id: str) -> Mapping[str, str | None]:
        return self._db.read(lambda connection: views.ran_before(connection, set_id))

    def member(self, set_id: str, device_id: str) -> Member:
        return self._db.read(lambda connection: known_member(connection, set_id, device_id))

    def members(self, set_id: str) -> tuple[Member, ...]:
        return self._db.read(lambda connection: members_of(connection, set_id))

    def list_sets(
        self,
        *,
        owner: str | None,
        state: str | None,
        workstream: str | None,
        device_id: str | None = None,
        limit: int,
        after: str | None,
    ) -> Page:
        query = select(sets)
        if device_id is not None:
            its = select(members.c.set_id).where(members.c.device_id == device_id)
            query = query.where(sets.c.set_id.in_(its))
        if owner is not None:
            query = query.where(sets.c.owner_email == owner)
        if state is not None:
            query = query.where(sets.c.state.in_(sorted(OPEN_SET) if state == "open" else [state]))
        if workstream is not None:
            query = query.where(sets.c.workstream == workstream)
        make = each(lambda row: as_record(DeploymentSet, row))
        return self._db.read(
            lambda connection: fetch_page(
                connection, query, (sets.c.ordinal,), make, limit=limit, after=after, newest_first=True
            )
        )

    def events(self, set_id: str, *, limit: int, after: str | None) -> Page:
        return self._db.read(lambda connection: history.of_set(connection, set_id, limit, after))

    def move(
        self,
        set_id: str,
        old: str,
        new: str,
        mover: str,
        at: datetime,
        *,
        code: str | None = None,
        detail: str | None = None,
    ) -> bool:
        return self._db.write(
            lambda connection: move_set(connection, set_id, old, new, mover, at, code=code, detail=detail)
        )

    def move_member(
        self,
        set_id: str,
        device_id: str,
        old: str,
        new: str,
        mover: str,
        at: datetime,
        *,
        code: str | None = None,
        detail: str | None = None,
    ) -> bool:
        return self._db.write(
            lambda connection: move_member(connection, set_id, device_id, old, new, mover, at, code=code, detail=detail)
        )

    def begin_plan(self, set_id: str, lease: timedelta, size: int, at: datetime) -> PlanningBegun:
        return self._db.write(lambda connection: plan.begin_plan(connection, set_id, lease, size, at))

    def unplanned(self, set_id: str, within: Range, at: datetime) -> tuple[Unplanned, ...]:
        return self._db.read(lambda connection: plan.unplanned(connection, set_id, within, at))

    def record_plan(self, set_id: str, decisions: Decisions, at: datetime) -> None:
        self._db.write(lambda connection: plan.record_plan(connection, set_id, decisions, at))

    def is_unplanned(self, set_id: str, at: datetime) -> bool:
        return self._db.read(lambda connection: plan.is_unplanned(connection, set_id, at))

    def costs(self, set_id: str) -> tuple[Cost, ...]:
        return self._db.read(lambda connection: weigh.costs(connection, set_id))

    def hold_back(self, set_id: str, reasons: Mapping[str, str], at: datetime) -> None:
        self._db.write(lambda connection: weigh.hold_back(connection, set_id, reasons, at))

    def to_start(self, set_id: str, size: int) -> tuple[Range, ...]:
        return self._db.read(lambda connection: start.to_start(connection, set_id, size))

    def start(self, set_id: str, within: Range, weighed_at: datetime, at: datetime) -> None:
        self._db.write(lambda connection: start.start_members(connection, set_id, within, weighed_at, at))

    def end_plan(self, set_id: str, claim: datetime, at: datetime) -> None:
        self._db.write(lambda connection: plan.end_plan(connection, set_id, claim, at))

    def to_plan(self, at: datetime, limit: int) -> tuple[str, ...]:
        return self._db.read(lambda connection: plan.to_plan(connection, at, limit))

    def ask_approval(self, set_id: str, asked_bytes: int, detail: str, at: datetime) -> bool:
        reason = {"code": NEEDS_APPROVAL, "detail": detail}
        return self._db.write(
            lambda connection: move_set(
                connection,
                set_id,
                "planning",
                "awaiting_approval",
                ORCHESTRATOR,
                at,
                asked_bytes=asked_bytes,
                **reason,
            )
        )

    def figures(self, set_ids: Sequence[str]) -> Mapping[str, Figures]:
        return self._db.read(lambda connection: figures_of_sets(connection, set_ids))

    def member_states(self, set_id: str) -> Mapping[str, int]:
        return self._db.read(lambda connection: views.member_states(connection, set_id))

    def troubles(self, set_id: str, states: Collection[str]) -> tuple[Trouble, ...]:
        return self._db.read(lambda connection: views.troubles(connection, set_id, states))

    def list_members(
        self, set_id: str, *, state: str | None, device_id: str | None = None, limit: int, after: str | None
    ) -> Page:
        return self._db.read(lambda connection: views.members_page(connection, set_id, state, device_id, limit, after))

    def silent(self, set_id: str) -> tuple[Waiting, ...]:
        return self._db.read(lambda connection: silent_of_set(connection, set_id))

    def waiting(self, set_id: str) -> tuple[Waiting, ...]:
        return self._db.read(lambda connection: views.waiting(connection, set_id))

    def unregistered(self, set_id: str) -> tuple[Unregistered, ...]:
        return self._db.read(lambda connection: views.unregistered(connection, set_id))

    def figures_of_members(self, set_id: str) -> Mapping[str, Figures]:
        return self._db.read(lambda connection: figures_of_members(connection, set_id))

    def approve(self, set_id: str, by: str, at: datetime) -> DeploymentSet:
        return self._db.write(lambda connection: orders.approve(connection, set_id, by, at))

    def cancel(self, set_id: str, by: str, at: datetime) -> DeploymentSet:
        return self._db.write(lambda connection: orders.cancel(connection, set_id, by, at))

    def withdraw_part(self, set_id: str, at: datetime) -> bool:
        return self._db.write(lambda connection: withdraw_part(connection, set_id, at))

    def request_release(self, set_id: str, by: str, at: datetime) -> DeploymentSet:
        return self._db.write(lambda connection: orders.request_release(connection, set_id, by, at))

    def promote(self, set_id: str, by: str, at: datetime) -> DeploymentSet:
        return self._db.write(lambda connection: orders.promote(connection, set_id, by, at))

    def exclude_member(self, set_id: str, device_id: str, by: str, at: datetime) -> Member:
        return self._db.write(lambda connection: orders.exclude_member(connection, set_id, device_id, by, at))

    def retry_member(self, set_id: str, device_id: str, by: str, at: datetime) -> Member:
        return self._db.write(lambda connection: orders.retry_member(connection, set_id, device_id, by, at))

    def rebase_member(self, set_id: str, device_id: str, agent_version: int, by: str, at: datetime) -> Member:
        return self._db.write(
            lambda connection: orders.rebase_member(connection, set_id, device_id, agent_version, by, at)
        )

    def skip_member(self, set_id: str, device_id: str, by: str, at: datetime) -> Member:
        return self._db.write(lambda connection: orders.skip_member(connection, set_id, device_id, by, at))

    def to_settle(self, at: datetime, limit: int) -> tuple[str, ...]:
        return self._db.read(lambda connection: settle.due_sets(connection, at, limit))

    def settle(self, set_id: str, at: datetime) -> DeploymentSet:
        """Members are moved and made due before the set is settled, never while its row is held: rows of devices and
        members come first."""
        if self._db.write(lambda connection: settle.let_members_go(connection, set_id, at)):
            return self._db.read(lambda connection: known_set(connection, set_id))
        self._db.write(lambda connection: settle.make_releasable(connection, set_id, at))
        return self._db.write(lambda connection: settle.settle_set(connection, set_id, at))

    def put_off_settling(self, set_id: str, until: datetime, at: datetime) -> None:
        self._db.write(lambda connection: settle.put_off(connection, set_id, until, at))
