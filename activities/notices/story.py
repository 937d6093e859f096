"""What is to be told of a set, once for every wording of it: what happened and why, what to do, the numbers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from activities.notices.kinds import Facts, Kind
from imagedelta.errors import REMEDIES
from imagedelta.printable import printable

_MAX_DETAIL = 500
_MAX_SUBJECT = 200
_MAX_IMAGES = 10
"""Named in a mail; a set may have a hundred."""
_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True)
class Reason:
    who: str
    """How many devices, and how they are; empty for the set as a whole."""
    named: str
    """Some of them."""
    code: str | None
    told: str
    """What was said of it, a sentence without its full stop; may be empty."""
    remedy: str


@dataclass(frozen=True)
class Story:
    """Every text is one line, as it may be shown."""

    subject: str
    owner: str
    name: str
    happened: str
    """Goes on after the name of the set."""
    reasons: tuple[Reason, ...]
    advice: str
    commands: tuple[str, ...]
    numbers: tuple[tuple[str, str], ...]
    """Label and value."""
    set_id: str
    look: str
    """Command that shows the set."""
    page: str
    """URL of a page that shows it; empty for none."""
    runbook: str
    tone: str
    """good, bad or waits."""


def story_of(kind: Kind, facts: Facts, page: str = "") -> Story:
    """Args:
    page: URL of the page of a set with ``{set}`` where its id goes; empty for none.
    """
    of, happened = facts.of, kind.title(facts)
    advice, commands = kind.advice(facts)
    return Story(
        subject=f"{one_line(of.name)} {happened}"[:_MAX_SUBJECT],
        owner=one_line(of.owner_name),
        name=one_line(of.name),
        happened=happened,
        reasons=tuple(_reasons(facts)),
        advice=advice,
        commands=tuple(commands),
        numbers=tuple(_numbers(facts)),
        set_id=of.set_id,
        look=facts.command("status"),
        page=page.replace("{set}", of.set_id),
        runbook=kind.runbook,
        tone=kind.tone_of(facts),
    )


def one_line(text: str) -> str:
    """Text from outside must not add header or body lines to a mail, nor move what a terminal shows of it."""
    return printable(" ".join(text.split()))[:_MAX_DETAIL]


def bytes_text(count: int) -> str:
    """``999 B``, ``35 kB``, ``9.61 MB``: three digits."""
    for unit, scale in _UNITS:
        if count >= 0.9995 * scale:
            number = count / scale
            digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
            return f"{number:.{digits}f} {unit}"
    return f"{count} B"


def words(state: str) -> str:
    return state.replace("_", " ")


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.of.code:
        yield _reason("", "", facts.of.code, facts.of.detail)
    for trouble in facts.troubles:
        more = trouble.devices - len(trouble.named)
        rest = f" and {more:,} more" if more else ""
        who, named = f"{trouble.devices:,} {words(trouble.state)}", f"{', '.join(trouble.named)}{rest}"
        yield _reason(who, named, trouble.code, trouble.detail)
    for held_up in facts.waiting:
        yield _reason(f"{held_up.devices:,} held up", f"{held_up.example} is the first", held_up.code, None)


def _reason(who: str, named: str, code: str | None, detail: str | None) -> Reason:
    told = one_line(detail).rstrip(".") if detail and code else ""
    return Reason(who, named, code, told, REMEDIES.get(code, "") if code else "")


def _numbers(facts: Facts) -> Iterator[tuple[str, str]]:
    of, figures = facts.of, facts.figures
    yield "Devices", ", ".join(f"{count:,} {words(state)}" for state, count in sorted(facts.members.items()))
    named, more = sorted(of.images)[:_MAX_IMAGES], len(of.images) - _MAX_IMAGES
    yield "Images", ", ".join(named) + (f" and {more:,} more" if more > 0 else "")
    yield "Workstream", of.workstream
    if of.deadline:
        yield "Deadline", f"{of.deadline:%Y-%m-%d %H:%M} UTC"
    planned = figures.planned_bytes if figures else of.asked_bytes
    if planned is not None:
        yield "Planned", bytes_text(planned)
    if figures and figures.sent_bytes:
        share = f" ({figures.sent_bytes / figures.whole_bytes:.1%})" if figures.whole_bytes else ""
        yield "Sent", f"{bytes_text(figures.sent_bytes)} instead of {bytes_text(figures.whole_bytes)}{share}"
