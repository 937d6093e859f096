"""What the owner of a set is told, in plain words, and that each thing is told once.

A notification is written in the transaction that makes it due; the unique constraint over (set, kind,
device) is what makes it one. Sending is activities' work.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from contracts.records import DeploymentSet, Member
from imagedelta.errors import REMEDIES
from store.schema import member_transfers, members, notifications, transfers
from store.set_rows import find_set
from store.tools import as_record, new_id
from store.transfer_rows import linked_transfers

MAX_LINES = 100
"""Devices named one by one in a mail; the rest is counted."""

_OF_MEMBER = {
    "failed": "member_failed",
    "conflict": "conflict",
    "apply_failed": "apply_failed",
}
_OF_SET = {
    "completed": "completed",
    "completed_with_failures": "completed",
    "failed": "failed",
    "awaiting_approval": "awaiting_approval",
}
_TITLES = {
    "completed": "is complete",
    "completed_with_failures": "is complete, but not on every device",
    "failed": "has failed",
    "overdue": "is past its deadline",
    "awaiting_approval": "waits for your approval",
    "member_failed": "failed on one device",
    "conflict": "was not released on one device",
    "apply_failed": "does not run on one device",
}
_WHAT_TO_DO = {
    "completed": "Nothing is left to do.",
    "completed_with_failures": "Retry the devices that failed, or leave them as they are.",
    "failed": "Look at the reasons below, then retry the devices or start a new set.",
    "overdue": "Nothing was stopped. Wait, exclude the devices that hold it up, or cancel the set.",
    "awaiting_approval": "Approve the set, or cancel it; nothing is sent before.",
    "member_failed": "The other devices go on. Retry the device, or exclude it so that the release need not wait.",
    "conflict": "Someone else changed the device's deployment meanwhile. Rebase (keep their change) or skip it.",
    "apply_failed": "Look at the modules on the device; a rollback of the set costs no bytes.",
}


def announce_set(connection: Connection, set_id: str, state: str, at: datetime) -> None:
    """Add the notification that a set's new state calls for, if any."""
    if kind := _OF_SET.get(state):
        announce(connection, set_id, kind, None, at, title=state if state in _TITLES else kind)


def announce_member(connection: Connection, set_id: str, device_id: str, state: str, at: datetime) -> None:
    if kind := _OF_MEMBER.get(state):
        announce(connection, set_id, kind, device_id, at, title=kind)


def announce(connection: Connection, set_id: str, kind: str, device_id: str | None, at: datetime, title: str) -> None:
    """Add one notification; one of this set, kind and device that is there already stays as it is."""
    of = find_set(connection, set_id)
    if of is None or _told(connection, set_id, kind, device_id or ""):
        return
    notification_id = new_id("notification")
    subject, body = _words(connection, of, title, device_id)
    connection.execute(
        notifications.insert().values(
            notification_id=notification_id,
            set_id=set_id,
            kind=kind,
            device_id=device_id or "",
            recipient=of.owner_email,
            message_id=f"<{notification_id}@imagedelta>",
            subject=subject,
            body=body,
            state="pending",
            tries=0,
            not_before=at,
            created_at=at,
        )
    )


def _told(connection: Connection, set_id: str, kind: str, device_id: str) -> bool:
    query = select(notifications.c.notification_id).where(
        notifications.c.set_id == set_id, notifications.c.kind == kind, notifications.c.device_id == device_id
    )
    return connection.execute(query).first() is not None


def _words(connection: Connection, of: DeploymentSet, title: str, device_id: str | None) -> tuple[str, str]:
    subject = f"Deployment set {one_line(of.name, 120)} {_TITLES[title]}" + (f": {device_id}" if device_id else "")
    blocks = [
        f"Hello {one_line(of.owner_name, 128)},",
        f'your deployment set "{one_line(of.name, 128)}" {_TITLES[title]}.',
        _WHAT_TO_DO[title],
        _facts(connection, of),
        _devices(connection, of.set_id, device_id),
        f"Set: {of.set_id}",
    ]
    return subject[:256], "\n\n".join(block for block in blocks if block) + "\n"


def _facts(connection: Connection, of: DeploymentSet) -> str:
    lines = [f"Images: {', '.join(sorted(of.images))}", f"Workstream: {of.workstream}"]
    if of.deadline:
        lines.append(f"Deadline: {of.deadline.isoformat()}")
    if of.planned_bytes is not None:
        lines.append(f"Planned: {of.planned_bytes:,} bytes")
    if sent := _sent(connection, of.set_id):
        lines.append(sent)
    if of.code:
        lines.append(_reason(of.code, of.detail))
    return "\n".join(lines) + "\n" + _counts(connection, of.set_id)


def _sent(connection: Connection, set_id: str) -> str:
    """What crossed the links, against what whole images would have been."""
    links = linked_transfers(connection, member_transfers.c.set_id == set_id, transfers.c.state == "succeeded")
    sent = [transfer for _set, _device, transfer in links if transfer.bundle_bytes]
    if not sent:
        return ""
    total, full = sum(one.bundle_bytes or 0 for one in sent), sum(one.full_bytes for one in sent)
    return f"Sent: {total:,} bytes in {len(sent)} bundles instead of {full:,} ({total / max(full, 1):.1%})"


def _counts(connection: Connection, set_id: str) -> str:
    query = (
        select(members.c.state, func.count())
        .where(members.c.set_id == set_id)
        .group_by(members.c.state)
        .order_by(members.c.state)
    )
    counted = [f"{count} {state.replace('_', ' ')}" for state, count in connection.execute(query)]
    return f"Devices: {', '.join(counted)}"


def _devices(connection: Connection, set_id: str, device_id: str | None) -> str:
    """One line for the device in question, or for every device that has something to say."""
    query = select(members).where(members.c.set_id == set_id).order_by(members.c.device_id)
    query = query.where(members.c.device_id == device_id if device_id else members.c.code.is_not(None))
    rows = connection.execute(query.limit(MAX_LINES + 1)).mappings().all()
    lines = [_device_line(as_record(Member, row)) for row in rows[:MAX_LINES]]
    return "\n".join(lines + (["… and more; ask for the set's members."] if len(rows) > MAX_LINES else []))


def _device_line(member: Member) -> str:
    state = f"{member.device_id}: {member.state.replace('_', ' ')}"
    return f"{state}. {_reason(member.code, member.detail)}" if member.code else state


def _reason(code: str, detail: str | None) -> str:
    told = f" {one_line(detail, 500)}" if detail else ""
    return f"Reason: {code}.{told} {REMEDIES.get(code, '')}".rstrip()


def one_line(text: str, length: int) -> str:
    """No line breaks: text from outside must not add header or body lines to a mail."""
    return " ".join(text.split())[:length]
