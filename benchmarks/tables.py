"""Results as tables: rows and columns of text, then Markdown or a terminal's columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.results import OK, OURS, Phase, Result, Run, best_peer, is_ours
from benchmarks.scenarios import CORPUS, GROWTH, SMALL, Scenario

_MARK = {"failed": "failed", "not installed": "not installed", "does not fit": "no fit", "not for this": "–"}
_NONE = ""


@dataclass(frozen=True)
class Table:
    """A title, a header and rows of text; the first column is left-aligned, the others right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As GitHub reads it."""
        rule = ("---", *("---:" for _ in self.header[1:]))
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, rule, *self.rows)]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"

    def text(self) -> str:
        """For a terminal."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = []
        for row in (self.header, *self.rows):
            cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
        return f"{self.title}\n" + "\n".join(lines) + "\n"


def tables(run: Run) -> list[Table]:
    """Sizes, then what building and applying took, for each set that was measured; then the growth."""
    made = []
    for name, scenarios in (("Small image set", SMALL), ("Full corpus", CORPUS), ("Growth", GROWTH)):
        measured = [s for s in scenarios if any(r.scenario == s.name for r in run.results)]
        if not measured:
            continue
        made.append(sizes(f"{name}: bytes over the link", run, measured))
        for title, phase, figure in _COSTS:
            made.append(_costs(f"{name}: {title}", run, measured, phase, figure))
    return made


def tools_of(run: Run, scenarios: Sequence[Scenario]) -> list[str]:
    """The tools that were asked for on these scenarios, in the order of the run, ours first."""
    names = {scenario.name for scenario in scenarios}
    seen = dict.fromkeys(result.tool for result in run.results if result.scenario in names)
    return sorted(seen, key=lambda tool: (not is_ours(tool), tool != OURS))


def sizes(title: str, run: Run, scenarios: Sequence[Scenario]) -> Table:
    """Bytes of each tool; the last column is ours against the smallest of the others."""
    names = tools_of(run, scenarios)
    rows = []
    for scenario in scenarios:
        results = [run.of(scenario.name, tool) for tool in names]
        there = [result for result in results if result]
        best, ours = best_peer(there), run.of(scenario.name, OURS)
        full = next(iter(there)).target_bytes
        cells = [_size(result, result is not None and result is best) for result in results]
        rows.append((f"{scenario.name}: {scenario.title}", f"{full / 1e6:,.0f} MB", *cells, ratio(ours, best)))
    return Table(title, ("scenario", "image", *names, "ours : best peer"), tuple(rows))


def ratio(ours: Result | None, peer: Result | None) -> str:
    """Our bytes for each byte of the peer."""
    if ours is None or peer is None or ours.bytes is None or not peer.bytes:
        return _NONE
    return f"{ours.bytes / peer.bytes:.2f}"


def _size(result: Result | None, best: bool) -> str:
    if result is None:
        return _NONE
    if result.bytes is None:
        return _MARK[result.status]
    return f"**{result.bytes:,}**" if best else f"{result.bytes:,}"


_COSTS: tuple[tuple[str, str, Callable[[Phase], str]], ...] = (
    ("seconds to build", "build", lambda phase: f"{phase.seconds:,.1f}"),
    ("CPU seconds to build", "build", lambda phase: f"{phase.cpu_seconds:,.1f}"),
    ("memory to build, MB (highest sum of the process tree)", "build", lambda p: f"{p.peak_rss_bytes / 1e6:,.0f}"),
    ("bytes read to build, MB (read calls)", "build", lambda phase: f"{phase.read_bytes / 1e6:,.0f}"),
    ("seconds to apply", "apply", lambda phase: f"{phase.seconds:,.1f}"),
    ("memory to apply, MB (highest sum of the process tree)", "apply", lambda p: f"{p.peak_rss_bytes / 1e6:,.0f}"),
)


def _costs(title: str, run: Run, scenarios: Sequence[Scenario], phase: str, figure: Callable[[Phase], str]) -> Table:
    names = tools_of(run, scenarios)
    rows = []
    for scenario in scenarios:
        cells = []
        for tool in names:
            result = run.of(scenario.name, tool)
            took = getattr(result, phase) if result else None
            cells.append(figure(took) if took else _MARK.get(result.status, _NONE) if result else _NONE)
        rows.append((scenario.name, *cells))
    return Table(title, ("scenario", *names), tuple(rows))


def losses(run: Run) -> Table:
    """Where a peer does better than ours with its default profile, for each figure and peer that wins anywhere."""
    rows = []
    peers = dict.fromkeys(result.tool for result in run.results if not is_ours(result.tool))
    for title, figure in _LOST:
        for peer in peers:
            factors = sorted(_factors(run, peer, figure), reverse=True)
            worse = [f"{scenario} {factor:.2f}" for factor, scenario in factors if factor > 1]
            if worse:
                rows.append((title, peer, f"{len(worse)} of {len(factors)}", ", ".join(worse[:_WORST])))
    title = "Where we take more than a peer, and how many times as much"
    return Table(title, ("figure", "peer", "scenarios", "worst"), tuple(rows))


def _factors(run: Run, peer: str, figure: Callable[[Result], float | None]) -> Iterator[tuple[float, str]]:
    """Yield ours divided by a peer's, and the scenario, where both have the figure."""
    for scenario in dict.fromkeys(result.scenario for result in run.results):
        results = [run.of(scenario, tool) for tool in (OURS, peer)]
        mine, other = (figure(result) if result else None for result in results)
        if mine and other:
            yield mine / other, scenario


_WORST = 4
_LOST: tuple[tuple[str, Callable[[Result], float | None]], ...] = (
    ("bytes over the link", lambda r: r.bytes),
    ("seconds to build", lambda r: r.build.seconds if r.build else None),
    ("memory to build", lambda r: r.build.peak_rss_bytes if r.build else None),
    ("seconds to apply", lambda r: r.apply.seconds if r.apply else None),
    ("memory to apply", lambda r: r.apply.peak_rss_bytes if r.apply else None),
)


def without_figure(run: Run) -> list[str]:
    """A line for each tool and reason that gave no figure, with the scenarios it is true of."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for result in run.results:
        if result.status != OK:
            reasons.setdefault((result.tool, result.status, result.reason), []).append(result.scenario)
    return [
        f"{tool}, {', '.join(names)}: {status}; {' '.join(reason.split())}"
        for (tool, status, reason), names in reasons.items()
    ]
