"""For the people who run the service: who changed what, and messages that could not be taken."""

from __future__ import annotations

from contracts.parameters import PAGING, Moment, Parameter
from contracts.responses import AuditView, QuarantineView, page_of
from services.deps import Deps
from triggers.http import Answer, Request
from triggers.operations import Operation, Resource
from triggers.paging import page_answer


def list_audit(request: Request, deps: Deps) -> Answer:
    page = deps.store.audit.list_entries(
        who=request.query.get("who"),
        subject=request.query.get("subject"),
        action=request.query.get("action"),
        start=request.query.get("from"),
        end=request.query.get("to"),
        **request.page(),
    )
    return page_answer(AuditView, page)


def list_quarantine(request: Request, deps: Deps) -> Answer:
    return page_answer(QuarantineView, deps.store.quarantine.entries(**request.page()))


RESOURCES = (
    Resource(
        name="api_audit",
        path="audit",
        operations=(
            Operation(
                "GET",
                list_audit,
                "Who changed what, newest first.",
                {200: page_of(AuditView)},
                query=(
                    *PAGING,
                    Parameter("who", "Only by this person or key."),
                    Parameter("subject", "Only on this thing."),
                    Parameter("action", "Only this, e.g. set.start."),
                    Parameter("from", "Only at this time or later.", Moment),
                    Parameter("to", "Only before this time.", Moment),
                ),
            ),
        ),
    ),
    Resource(
        name="api_quarantine",
        path="quarantine",
        operations=(
            Operation(
                "GET",
                list_quarantine,
                "Device messages that could not be taken, counted by sender and reason, last heard of first.",
                {200: page_of(QuarantineView)},
                query=PAGING,
            ),
        ),
    ),
)
