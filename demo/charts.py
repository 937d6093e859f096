"""The two pictures of the report: bars in HTML, and a timeline in SVG; their colours are the page's.

The timeline is drawn twice, for a screen and for a phone: scaled down, its letters could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from demo import words
from demo.record import DeviceFact, Event, RunRecord, Span, TransferFact

_LANE, _AXIS = 84, 34
_AREA = 46
"""Height of a device's throughput curve inside its lane."""
_LEAST_LABEL = 30
"""Narrower spans carry their text in a tooltip only."""
_LETTER, _BOLD_LETTER = 5.9, 9.0
"""Width of one letter of a span's label, about; of a lane's name, at most."""


def bytes_chart(transfers: Sequence[TransferFact]) -> str:
    """A bar for each transfer: what the whole image weighs, what a pull would have moved, what was sent."""
    largest = max((fact.full_bytes for fact in transfers), default=1)
    return "".join(_bytes_row(fact, largest) for fact in transfers)


def _bytes_row(fact: TransferFact, largest: int) -> str:
    source = f"from {fact.source}" if fact.source else "nothing to start from"
    line = f"{words.size(fact.bundle_bytes)} sent, {source}; a pull moves {words.size(fact.pull_bytes)}"
    bars = (
        ("full", fact.full_bytes, "whole image"),
        ("pull", fact.pull_bytes, "docker pull"),
        ("sent", fact.bundle_bytes, "bundle"),
    )
    drawn = "".join(
        f'<i class="{style}" style="width:{100 * count / largest:.3f}%" title="{meaning}: {count:,} bytes"></i>'
        for style, count, meaning in bars
    )
    return (
        f'<div class="bar"><p><b>{escape(fact.image)}</b><span>to {escape(fact.device)}</span></p>'
        f'<div class="track">{drawn}</div><em>{words.share(fact.share_of_pull)}</em>'
        f"<small>{escape(line)}</small></div>"
    )


@dataclass(frozen=True)
class Frame:
    """Where a timeline's parts lie, in pixels."""

    style: str
    width: int
    left: int
    """Of the lanes; a lane's name stands there to the left, or above when there is no room."""
    gap: int
    """Between lanes."""
    ticks: int
    """At most."""

    @property
    def right(self) -> int:
        return self.width - 16


SCREEN = Frame("screen", 960, 132, 14, 9)
PHONE = Frame("phone", 312, 16, 40, 5)


@dataclass(frozen=True)
class _Scale:
    """Seconds since 1970 to x."""

    start: float
    end: float
    frame: Frame

    def x(self, at: float) -> float:
        inside = min(max(at, self.start), self.end)
        return self.frame.left + (self.frame.right - self.frame.left) * (inside - self.start) / (self.end - self.start)


def timelines(record: RunRecord) -> str:
    """For both widths; the page shows the one that fits."""
    return _timeline(record, SCREEN) + _timeline(record, PHONE)


def _timeline(record: RunRecord, frame: Frame) -> str:
    """A lane for the cloud and for each device: what lasted, what came down the link, cuts, kills, mail, release."""
    lanes = ["cloud", *(fact.device for fact in record.devices)]
    first = 8 if frame is SCREEN else frame.gap
    tops = {lane: first + number * (_LANE + frame.gap) for number, lane in enumerate(lanes)}
    bottom = first + len(lanes) * (_LANE + frame.gap) - (0 if frame is SCREEN else frame.gap - 8)
    scale = _Scale(record.ordered, max(record.ended, record.ordered + 1), frame)
    parts = [_grid(scale, bottom)]
    for lane in lanes:
        parts.append(_lane(lane, tops[lane], record, frame))
    fastest = max((count for fact in record.devices for count in fact.by_second.values()), default=1)
    for fact in record.devices:
        parts.append(_throughput(fact, tops[fact.device], scale, fastest))
    busy = {span.lane for span in record.spans}
    for fact in record.devices:
        if fact.device not in busy:
            parts.append(_text(frame.left + 12, tops[fact.device] + 34, "had everything: nothing was sent", "dim"))
    spans = [span for span in record.spans if span.lane in tops]
    parts += [_span(span, tops[span.lane], scale) for span in spans]
    parts += [_span_label(span, tops[span.lane], scale) for span in spans]
    parts += [_event(event, tops[event.lane], scale) for event in record.events if event.lane in tops]
    return _svg(frame, bottom + _AXIS, "What happened when", "".join(parts))


def _grid(scale: _Scale, bottom: int) -> str:
    step = _step(scale.end - scale.start, scale.frame.ticks)
    marks = []
    second = 0
    while scale.start + second <= scale.end:
        x = scale.x(scale.start + second)
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}"/>')
        marks.append(_text(x, bottom + 18, f"{second // 60}:{second % 60:02}", "dim", "middle"))
        second += step
    return "".join(marks)


def _step(seconds: float, ticks: int) -> int:
    return next((step for step in (5, 10, 15, 20, 30, 60, 120, 300) if seconds / step <= ticks), 600)


def _lane(lane: str, top: int, record: RunRecord, frame: Frame) -> str:
    hub = next((fact.hub for fact in record.devices if fact.device == lane), "")
    under = f"hub {hub}" if hub else "the embedded host"
    width = frame.right - frame.left
    box = f'<rect class="lane" x="{frame.left}" y="{top}" width="{width}" height="{_LANE}" rx="6"/>'
    title = "Cloud" if lane == "cloud" else lane
    if frame is PHONE:
        name = _shortened(title, width - _LETTER * len(under) - 12, _BOLD_LETTER)
        return box + _text(frame.left, top - 8, name, "name") + _text(frame.right, top - 8, under, "dim", "end")
    return (
        box
        + _text(0, top + 34, _shortened(title, frame.left - 8, _BOLD_LETTER), "name")
        + _text(0, top + 52, under, "dim")
    )


def _throughput(fact: DeviceFact, top: int, scale: _Scale, fastest: int) -> str:
    base = top + _LANE - 6
    if not fact.by_second:
        return ""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _curve(fact, scale, base, fastest))
    cuts = "".join(
        f'<path class="cut" d="M{scale.x(at):.1f} {base + 5} v-{_AREA + 5}"><title>the link was cut</title></path>'
        for at in fact.cuts
    )
    return f'<polygon class="flow" points="{points}"><title>bytes down the link</title></polygon>{cuts}'


def _curve(fact: DeviceFact, scale: _Scale, base: int, fastest: int) -> Iterator[tuple[float, float]]:
    first, last = min(fact.by_second), max(fact.by_second)
    yield scale.x(first), base
    for second in range(first, last + 1):
        y = base - _AREA * fact.by_second.get(second, 0) / fastest
        yield scale.x(second), y
        yield scale.x(second + 1), y
    yield scale.x(last + 1), base


def _span(span: Span, top: int, scale: _Scale) -> str:
    left, width, y, height = _span_box(span, top, scale)
    return _rect(left, y, width, height, f"span {span.kind}", f"{span.text}: {words.duration(span.end - span.start)}")


def _span_label(span: Span, top: int, scale: _Scale) -> str:
    """Drawn after all boxes, so that no later box hides it."""
    left, width, y, height = _span_box(span, top, scale)
    if width < _LEAST_LABEL:
        return ""
    return _text(left + 4, y + height / 2 + 4, _shortened(span.text, width - 4, _LETTER), "label")


def _shortened(text: str, width: float, letter: float) -> str:
    room = int(width / letter)
    return text if len(text) <= room else text[: max(room - 1, 1)] + "…"


def _span_box(span: Span, top: int, scale: _Scale) -> tuple[float, float, float, float]:
    left, right = scale.x(span.start), scale.x(span.end)
    y, height = (top + 40, 26) if span.lane == "cloud" else (top + 8, 20)
    return left, max(2.0, right - left), y, height


_MARKS = {"kill": "✕", "restart": "↻", "mail": "✉", "release": "⚑", "note": "•", "state": "•"}


def _event(event: Event, top: int, scale: _Scale) -> str:
    x = scale.x(event.at)
    y = top + 22 if event.lane == "cloud" else top + 44
    line = f'<line class="mark {event.kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + _LANE}"/>'
    sign = f'<circle class="mark {event.kind}" cx="{x:.1f}" cy="{y}" r="9"/>' + _text(
        x, y + 4, _MARKS[event.kind], f"sign {event.kind}", "middle"
    )
    return f"<g><title>{escape(event.text)}</title>{line}{sign}</g>"


def _svg(frame: Frame, height: float, title: str, body: str) -> str:
    return (
        f'<svg class="{frame.style}" viewBox="0 0 {frame.width} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )


def _rect(x: float, y: float, width: float, height: float, style: str, title: str) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3">'
        f"<title>{escape(title)}</title></rect>"
    )


def _text(x: float, y: float, content: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
