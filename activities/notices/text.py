"""A story as plain text, for readers that show no HTML and for terminals. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from activities.notices.story import Reason, Story


def plain_text(story: Story) -> str:
    blocks = [
        [f"Hello {story.owner},"],
        [f'your deployment set "{story.name}" {story.happened}.'],
        [line for reason in story.reasons for line in _reason(reason)],
        [story.advice, *(f"    {command}" for command in story.commands)],
        [f"{label}: {value}" for label, value in story.numbers],
        _pointers(story),
    ]
    texts = ["\n".join(block) for block in blocks]
    return "\n\n".join(text for text in texts if text) + "\n"


def _reason(reason: Reason) -> Iterator[str]:
    if reason.who:
        yield f"{reason.who}: {reason.named}"
    if reason.code:
        told = f" {reason.told}." if reason.told else ""
        yield f"{'  ' if reason.who else ''}Reason: {reason.code}.{told} {reason.remedy}".rstrip()


def _pointers(story: Story) -> Iterator[str]:
    yield f"Set: {story.set_id}"
    if story.page:
        yield f"Page: {story.page}"
    yield f"Look: {story.look}"
    if story.runbook:
        yield f"More: docs/runbooks/{story.runbook}"
