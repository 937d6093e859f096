"""What a fleet's life cost, as a table of sizes side by side and a picture of the growth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from benchmarks import svg
from benchmarks.fleet_meter import NAMES, Cost
from benchmarks.results import BadResults
from benchmarks.tables import Table

_DRAWN = {
    "first plan": "#e4572e",
    "publish": "#2e86ab",
    "report, alone": "#7b4fb3",
    "report, in batches": "#1f9d8a",
    "tick, nothing due": "#7a7a7a",
    "release": "#c28a00",
    "confirm": "#b5487e",
    "superseding plan": "#5a7d2a",
    "cancel, its parts": "#8c564b",
    "settle after all failed": "#17678f",
}
"""Step -> colour of its line."""
_LEFT, _RIGHT, _TOP, _HEIGHT = 60, 610, 48, 330


def read(path: Path) -> list[Cost]:
    """The lines that ``fleet --json`` printed; of two of a step and size the later counts.

    Raises: BadResults.
    """
    found: dict[tuple[str, int], Cost] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            given = json.loads(line)
            cost = Cost(**{field.name: given[NAMES.get(field.name, field.name)] for field in fields(Cost)})
        except (ValueError, TypeError, KeyError) as error:
            raise BadResults(f"{path.name}, line {number}: {error!r}") from error
        found[cost.step, cost.devices] = cost
    return list(found.values())


def table(costs: Sequence[Cost]) -> Table:
    """A row for each step; for each size CPU and statements of one item; then how the first grew to the last."""
    sizes, rows = _sizes(costs), _rows(costs)
    header = ("step", "items", *(f"{what}, {size:,}" for size in sizes for what in ("ms", "statements")), "growth")
    body = []
    for step, by_size in rows.items():
        last = by_size[max(by_size)]
        cells = [cell for size in sizes for cell in _cells(by_size.get(size))]
        body.append((step, f"{last.items:,}", *cells, _growth(by_size)))
    return Table("Cost of one item, by the size of the fleet", header, tuple(body))


def details(costs: Sequence[Cost]) -> Table:
    """Of the largest fleet: what a whole step took, its longest call and largest transaction, bytes."""
    largest = max(_sizes(costs))
    rows = tuple(
        (
            cost.step,
            f"{cost.cpu_seconds:,.2f}",
            f"{cost.statements:,}",
            f"{cost.transactions:,}",
            f"{cost.calls:,}",
            f"{cost.longest_cpu_seconds:,.3f}",
            f"{cost.most_statements:,}",
            f"{cost.bytes:,}" if cost.bytes else "",
        )
        for cost in costs
        if cost.devices == largest
    )
    header = ("step", "CPU s", "statements", "transactions", "calls", "longest call, CPU s", "most in one", "bytes")
    return Table(f"{largest:,} devices, whole steps", header, rows)


def picture(costs: Sequence[Cost]) -> str:
    """CPU of one item against the size of the fleet: a level line is what is wanted."""
    rows = {step: by_size for step, by_size in _rows(costs).items() if step in _DRAWN}
    sizes = _sizes(costs)
    across = svg.LogScale.over(sizes, _LEFT, _RIGHT)
    up = svg.LogScale.over([_milliseconds(c) for row in rows.values() for c in row.values()], _TOP + _HEIGHT, _TOP)
    title = "CPU of one item, ms, by the number of devices"
    body = [svg.text(12, 22, title, "text", weight=600)]
    for tick in up.ticks():
        body += [svg.line(_LEFT, up.at(tick), _RIGHT, up.at(tick))]
        body += [svg.text(_LEFT - 6, up.at(tick) + 4, svg.number(tick), "dim", "end")]
    for size in sizes:
        body += [svg.line(across.at(size), _TOP, across.at(size), _TOP + _HEIGHT)]
        body += [svg.text(across.at(size), _TOP + _HEIGHT + 18, f"{size:,}", "dim", "middle")]
    for position, (step, by_size) in enumerate(rows.items()):
        body += _line(step, [(across.at(size), up.at(_milliseconds(cost)), cost) for size, cost in by_size.items()])
        y = _TOP + 16 + 22 * position
        body += [svg.dot(_RIGHT + 24, y - 4, 4.5, _DRAWN[step], step), svg.text(_RIGHT + 36, y, step, "text")]
    return svg.document(_TOP + _HEIGHT + 34, title, body)


def _line(step: str, points: Sequence[tuple[float, float, Cost]]) -> list[str]:
    colour = _DRAWN[step]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    dots = [svg.dot(x, y, 4.5, colour, f"{step}: {svg.number(_milliseconds(cost))} ms") for x, y, cost in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _cells(cost: Cost | None) -> tuple[str, str]:
    if cost is None:
        return "", ""
    return f"{_milliseconds(cost):,.2f}", f"{cost.each(cost.statements):,.1f}"


def _growth(by_size: Mapping[int, Cost]) -> str:
    if len(by_size) < 2:
        return ""
    first, last = by_size[min(by_size)], by_size[max(by_size)]
    return f"{_milliseconds(last) / _milliseconds(first):.2f} ×"


def _milliseconds(cost: Cost) -> float:
    """Never 0: what the clock of the CPU does not see is a microsecond."""
    return max(1e-3, cost.each(cost.cpu_seconds) * 1e3)


def _sizes(costs: Iterable[Cost]) -> list[int]:
    return sorted({cost.devices for cost in costs})


def _rows(costs: Iterable[Cost]) -> dict[str, dict[int, Cost]]:
    rows: dict[str, dict[int, Cost]] = {}
    for cost in costs:
        rows.setdefault(cost.step, {})[cost.devices] = cost
    return {step: dict(sorted(row.items())) for step, row in rows.items()}
