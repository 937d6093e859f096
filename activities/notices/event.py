"""A story as an event for a program: JSON, version 1. Source: docs/formats/webhook.md and its schema. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from activities.notices.kinds import Facts
from activities.notices.story import Story, one_line
from contracts.records import Notification, Trouble
from imagedelta.errors import REMEDIES

VERSION = 1


def event_json(notification: Notification, facts: Facts, story: Story) -> str:
    """The body, as it is signed and posted."""
    event = {
        "type": f"deployment_set.{notification.kind}",
        "timestamp": _moment(notification.created_at),
        "version": VERSION,
        "data": _data(notification, facts, story),
    }
    return json.dumps(event, separators=(",", ":"))


def _data(notification: Notification, facts: Facts, story: Story) -> dict[str, Any]:
    of, figures = facts.of, facts.figures
    return {
        "number": notification.number,
        "summary": story.subject,
        "set": {
            "id": of.set_id,
            "name": of.name,
            "state": of.state,
            "workstream": of.workstream,
            "owner": {"name": of.owner_name, "email": of.owner_email},
            "createdAt": _moment(of.created_at),
            "deadline": _moment(of.deadline) if of.deadline else None,
            "page": story.page or None,
        },
        "reason": _reason(of.code, of.detail),
        "members": dict(facts.members),
        "troubles": [_trouble(trouble) for trouble in facts.troubles],
        "waiting": [
            {"reason": _reason(one.code, None), "devices": one.devices, "example": one.example} for one in facts.waiting
        ],
        "figures": {
            "plannedBytes": figures.planned_bytes if figures else of.asked_bytes,
            "sentBytes": figures.sent_bytes if figures else 0,
            "wholeBytes": figures.whole_bytes if figures else 0,
        },
        "advice": {"text": story.advice, "commands": list(story.commands)},
    }


def _trouble(trouble: Trouble) -> dict[str, Any]:
    reason = _reason(trouble.code, trouble.detail)
    return {"state": trouble.state, "devices": trouble.devices, "named": list(trouble.named), "reason": reason}


def _reason(code: str | None, detail: str | None) -> dict[str, Any] | None:
    if code is None:
        return None
    return {"code": code, "detail": one_line(detail) if detail else None, "remedy": REMEDIES.get(code)}


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
