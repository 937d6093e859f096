"""What a run writes down: one JSON object a line, the machine first, then a line for each scenario and tool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OK, FAILED, NOT_INSTALLED, DOES_NOT_FIT, NOT_FOR_THIS = "ok", "failed", "not installed", "does not fit", "not for this"
STATUSES = (OK, FAILED, NOT_INSTALLED, DOES_NOT_FIT, NOT_FOR_THIS)
OURS = "imagedelta"
"""With the default profile; with another its name follows, after a hyphen."""


class BadResults(Exception):
    """The file is not what a run writes; the message names the line."""


@dataclass(frozen=True)
class Phase:
    """What building or applying took; all steps together, memory the highest of them."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    read_bytes: int
    """Bytes that ``read`` calls returned; for a tool that maps files, too few."""


@dataclass(frozen=True)
class Result:
    """One tool on one scenario."""

    scenario: str
    tool: str
    status: str
    target_bytes: int
    source_bytes: int = 0
    reason: str = ""
    """Why there is no figure."""
    bytes: int | None = None
    """What goes over the link."""
    build: Phase | None = None
    apply: Phase | None = None
    details: dict[str, Any] = field(default_factory=dict)
    """What the tool itself says, e.g. ``bytesRead`` of ours."""

    def __post_init__(self) -> None:
        if self.status not in STATUSES or (self.status == OK) != (self.bytes is not None):
            raise ValueError(f"{self.scenario}, {self.tool}: status {self.status!r} with {self.bytes} bytes")


@dataclass(frozen=True)
class Run:
    """All of a results file; of two results of a scenario and tool the later counts."""

    machine: dict[str, str]
    results: tuple[Result, ...]

    def of(self, scenario: str, tool: str) -> Result | None:
        """The result of a tool, if it was asked for."""
        return next((r for r in self.results if (r.scenario, r.tool) == (scenario, tool)), None)


def append(path: Path, kind: str, record: Result | dict[str, str]) -> None:
    """Add a line; what is written stays when the run is cut."""
    body = asdict(record) if isinstance(record, Result) else record
    append_line(path, {"kind": kind, **body})


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line of JSON."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(record, sort_keys=True) + "\n")


def read(path: Path) -> Run:
    """Read a results file.

    Raises:
        BadResults: A line is no result.
    """
    machine: dict[str, str] = {}
    results: dict[tuple[str, str], Result] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            record = json.loads(line)
            kind = record.pop("kind")
            if kind == "machine":
                machine = record
            else:
                result = _result(record)
                results[result.scenario, result.tool] = result
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadResults(f"{path.name}, line {number}: {error!r}") from error
    return Run(machine, tuple(results.values()))


def _result(record: dict[str, Any]) -> Result:
    phases = {name: Phase(**record[name]) if record.get(name) else None for name in ("build", "apply")}
    return Result(**{**record, **phases})


def is_ours(tool: str) -> bool:
    """Whether a tool is this engine, with whatever profile."""
    return tool.partition("-")[0] == OURS


def best_peer(results: Iterable[Result]) -> Result | None:
    """The smallest output of any tool that is not ours."""
    peers = [result for result in results if not is_ours(result.tool) and result.bytes is not None]
    return min(peers, key=lambda result: result.bytes or 0, default=None)
