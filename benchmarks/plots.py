"""Pictures of the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks import svg
from benchmarks.results import OURS, Result, Run, is_ours
from benchmarks.scenarios import CORPUS, GROWTH, SMALL, Scenario
from benchmarks.tables import tools_of

_LEFT, _RIGHT, _TOP, _ROW, _FOOT = 120, 830, 82, 26, 46
_PANEL, _GAP = 230, 34
_COLOURS = {
    OURS: "#e4572e",
    f"{OURS}-v1": "#f2a48e",
    f"{OURS}-cm": "#9c2a0a",
    f"{OURS}-thin": "#5c1a08",
    "layers": "#7a7a7a",
    "rdiff": "#2e86ab",
    "xdelta3": "#7b4fb3",
    "zstd": "#1f9d8a",
    "hdiffpatch": "#c28a00",
    "bsdiff4": "#b5487e",
}
_SYMBOLS = {OURS: 6.5}
"""Radius of a dot; 4.5 for the others."""
_LEGEND_ROW = 7

SETS = ("small", "corpus", "growth")
"""With what the names of pictures begin."""

Figure = Callable[[Result], float | None]


def plots(run: Run) -> dict[str, str]:
    """SVG by file name, of what was measured."""
    made = {}
    for name, scenarios in (("small", SMALL), ("corpus", CORPUS)):
        measured = [s for s in scenarios if any(r.scenario == s.name for r in run.results)]
        for kind, title, figure in _DOTS:
            if picture := dots(f"{title} ({name})", run, measured, figure(run)):
                made[f"{name}-{kind}.svg"] = picture
    for name, title, x in (("size", "Growth with the image's size, one file changed", "image, MB"),
                           ("change", "Growth with the change", "changed files")):  # fmt: skip
        if picture := growth(title, x, run, [s for s in GROWTH if s.name.startswith(f"{name}-")]):
            made[f"growth-{name}.svg"] = picture
    return made


def _against_ours(run: Run) -> Figure:
    def figure(result: Result) -> float | None:
        ours = run.of(result.scenario, OURS)
        return result.bytes / ours.bytes if result.bytes and ours and ours.bytes else None

    return figure


def _read(result: Result) -> float | None:
    """Share of the two images; ours is what its engine counts, the peers' what their read calls returned."""
    read = result.details.get("bytesRead") if is_ours(result.tool) else result.build and result.build.read_bytes
    return read / (result.source_bytes + result.target_bytes) if read else None


_DOTS: tuple[tuple[str, str, Callable[[Run], Figure]], ...] = (
    ("bytes", "Bytes over the link, times ours", _against_ours),
    ("time", "Seconds to build", lambda run: lambda r: r.build.seconds if r.build else None),
    ("memory", "Memory to build, MB", lambda run: lambda r: r.build.peak_rss_bytes / 1e6 if r.build else None),
    ("apply-memory", "Memory to apply, MB", lambda run: lambda r: r.apply.peak_rss_bytes / 1e6 if r.apply else None),
    ("reads", "Bytes read to build, as share of both images", lambda run: _read),
)


def dots(title: str, run: Run, scenarios: Sequence[Scenario], figure: Figure) -> str:
    """A row for each scenario, a dot for each tool, on a logarithmic axis; "" when there is nothing to show."""
    names = tools_of(run, scenarios)
    rows = {s.name: _values(run, s, names, figure) for s in scenarios}
    values = [value for row in rows.values() for value in row.values()]
    if not values:
        return ""
    scale = svg.LogScale.over(values, _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(rows)
    body = [svg.text(12, 22, title, "text", weight=600), _legend(names, 42)]
    for tick in scale.ticks():
        body.append(svg.line(scale.at(tick), _TOP - 6, scale.at(tick), bottom))
        body.append(svg.text(scale.at(tick), bottom + 18, svg.number(tick), "dim", "middle"))
    for position, (name, row) in enumerate(rows.items()):
        y = _TOP + _ROW * (position + 0.5)
        body.append(svg.text(12, y + 4, name, "text"))
        body.append(svg.line(_LEFT, y, _RIGHT, y))
        body += [_dot(scale.at(value), y, tool, f"{name}, {tool}: {svg.number(value)}") for tool, value in row.items()]
    return svg.document(bottom + _FOOT - 16, title, body)


def _values(run: Run, scenario: Scenario, names: Sequence[str], figure: Figure) -> dict[str, float]:
    """Ours last, so that it is drawn on top."""
    found = {}
    for tool in sorted(names, key=lambda name: name == OURS):
        result = run.of(scenario.name, tool)
        value = figure(result) if result else None
        if value and value > 0:
            found[tool] = value
    return found


def growth(title: str, x_title: str, run: Run, scenarios: Sequence[Scenario]) -> str:
    """Three panels, bytes, seconds and memory to build, with a line for each tool."""
    names = tools_of(run, scenarios)
    panels: tuple[tuple[str, Figure], ...] = (
        ("bytes over the link", lambda r: float(r.bytes) if r.bytes else None),
        ("seconds to build", lambda r: r.build.seconds if r.build else None),
        ("memory to build, MB", lambda r: r.build.peak_rss_bytes / 1e6 if r.build else None),
    )
    width = (svg.WIDTH - 4 * _GAP - 30) / 3
    body = [svg.text(12, 22, title, "text", weight=600), _legend(names, 42)]
    for position, (name, figure) in enumerate(panels):
        left = 54 + position * (width + _GAP + 12)
        rows = {s: _values(run, s, names, figure) for s in scenarios}
        if not any(rows.values()):
            return ""
        body += _panel(name, x_title, rows, left, left + width)
    return svg.document(_TOP + _PANEL + 62, title, body)


def _panel(
    title: str, x_title: str, rows: Mapping[Scenario, Mapping[str, float]], left: float, right: float
) -> list[str]:
    bottom = _TOP + 24 + _PANEL - 20
    scale = svg.LogScale.over([v for row in rows.values() for v in row.values()], bottom, _TOP + 24)
    body = [svg.text(left, _TOP + 12, title, "text")]
    for tick in scale.ticks():
        body += [svg.line(left, scale.at(tick), right, scale.at(tick))]
        body += [svg.text(left - 5, scale.at(tick) + 4, svg.number(tick), "dim", "end")]
    places = {s: left + (right - left) * (n + 0.5) / len(rows) for n, s in enumerate(rows)}
    for scenario, x in places.items():
        body.append(svg.text(x, bottom + 16, svg.number(scenario.x) if scenario.x else "all", "dim", "middle"))
    body.append(svg.text((left + right) / 2, bottom + 34, x_title, "dim", "middle"))
    for tool in dict.fromkeys(tool for row in rows.values() for tool in row):
        points = [(places[s], scale.at(row[tool]), row[tool]) for s, row in rows.items() if tool in row]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{_colour(tool)}" stroke-width="2"/>')
        body += [_dot(x, y, tool, f"{tool}: {svg.number(value)}") for x, y, value in points]
    return body


def _legend(names: Sequence[str], y: float) -> str:
    parts = []
    for position, tool in enumerate(names):
        row, column = divmod(position, _LEGEND_ROW)
        x, at = 18 + column * 119, y + row * 18
        parts.append(_dot(x, at - 4, tool, tool) + svg.text(x + 11, at, tool, "text"))
    return "".join(parts)


def _colour(tool: str) -> str:
    return _COLOURS.get(tool, "#888")


def _dot(x: float, y: float, tool: str, title: str) -> str:
    return svg.dot(x, y, _SYMBOLS.get(tool, 4.5), _colour(tool), title)
