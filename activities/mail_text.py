"""A mail to the owner of a set: what happened and why, what to do with commands to copy, the numbers.

Made from stored facts when the mail is sent, so that its numbers are right by then. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from activities.mail_kinds import Facts, Kind
from imagedelta.errors import REMEDIES
from imagedelta.printable import printable

_MAX_DETAIL = 500
_MAX_SUBJECT = 256


def mail_text(kind: Kind, facts: Facts) -> tuple[str, str]:
    """Subject and body."""
    of, title = facts.of, kind.title(facts)
    what_to_do, commands = kind.advice(facts)
    blocks = [
        [f"Hello {one_line(of.owner_name)},"],
        [f'your deployment set "{one_line(of.name)}" {title}.'],
        _reasons(facts),
        [what_to_do, *(f"    {command}" for command in commands)],
        _numbers(facts),
        _pointers(kind, facts),
    ]
    texts = ["\n".join(block) for block in blocks]
    subject = f"Deployment set {one_line(of.name)} {title}"
    return subject[:_MAX_SUBJECT], "\n\n".join(text for text in texts if text) + "\n"


def one_line(text: str) -> str:
    """Text from outside must not add header or body lines to a mail, nor move what a terminal shows of it."""
    return printable(" ".join(text.split()))[:_MAX_DETAIL]


def _reasons(facts: Facts) -> Iterator[str]:
    if facts.of.code:
        yield _reason(facts.of.code, facts.of.detail)
    for trouble in facts.troubles:
        more = trouble.devices - len(trouble.named)
        rest = f" and {more:,} more" if more else ""
        yield f"{trouble.devices:,} {_words(trouble.state)}: {', '.join(trouble.named)}{rest}"
        if trouble.code:
            yield f"  {_reason(trouble.code, trouble.detail)}"
    for held_up in facts.waiting:
        yield f"{held_up.devices:,} held up, the first of them {held_up.example}. {_reason(held_up.code, None)}"


def _reason(code: str, detail: str | None) -> str:
    told = f" {one_line(detail).rstrip('.')}." if detail else ""
    return f"Reason: {code}.{told} {REMEDIES.get(code, '')}".rstrip()


def _numbers(facts: Facts) -> Iterator[str]:
    of, figures = facts.of, facts.figures
    states = ", ".join(f"{count:,} {_words(state)}" for state, count in sorted(facts.members.items()))
    yield f"Devices: {states}"
    yield f"Images: {', '.join(sorted(of.images))}"
    yield f"Workstream: {of.workstream}"
    if of.deadline:
        yield f"Deadline: {of.deadline:%Y-%m-%d %H:%M} UTC"
    planned = figures.planned_bytes if figures else of.asked_bytes
    if planned is not None:
        yield f"Planned: {planned:,} bytes"
    if figures and figures.sent_bytes:
        share = f" ({figures.sent_bytes / figures.whole_bytes:.1%})" if figures.whole_bytes else ""
        yield f"Sent: {figures.sent_bytes:,} bytes instead of {figures.whole_bytes:,} of whole images{share}"


def _pointers(kind: Kind, facts: Facts) -> Iterator[str]:
    yield f"Set: {facts.of.set_id}"
    yield f"Look: {facts.command('show')}"
    if kind.runbook:
        yield f"More: docs/runbooks/{kind.runbook}"


def _words(state: str) -> str:
    return state.replace("_", " ")
