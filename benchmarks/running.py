"""One measurement: build with a tool, apply what it made, compare; every end of it is a result."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import Cost, Overrun, measure
from benchmarks.peer_programs import manifest_of, member
from benchmarks.results import DOES_NOT_FIT, FAILED, NOT_FOR_THIS, NOT_INSTALLED, OK, Phase, Result, is_ours
from benchmarks.scenarios import Placed
from benchmarks.tools import Command, Job, Tool

_REASON = 200
_ROOT = Path(__file__).parents[1]
"""Where ``python -m benchmarks.peer_programs`` is found."""


@dataclass(frozen=True)
class Budget:
    """What one command may take."""

    memory_bytes: int
    timeout_seconds: float


class _Failed(Exception):
    """A command ended with an error, or its output is wrong."""


def run_all(
    placed: Sequence[Placed],
    tools: Sequence[Tool],
    budget: Budget,
    scratch: Path,
    done: Callable[[Result], None],
    known: Collection[tuple[str, str]] = (),
) -> None:
    """Measure every tool on every scenario but for those ``known``, one at a time; ``done`` gets each result."""
    for each in placed:
        for tool in tools:
            if (each.scenario.name, tool.name) not in known:
                done(measured(each, tool, budget, scratch))


def measured(placed: Placed, tool: Tool, budget: Budget, scratch: Path) -> Result:
    """Build, apply, compare; a tool that is not there, does not fit or fails gives a result that says so."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        job = Job(placed.source, placed.target, folder / "patch", folder / "output", folder / "between")
        target_bytes = job.target.stat().st_size

        def ended(status: str, reason: str = "", **more: Any) -> Result:
            reason = reason[-_REASON:]
            return Result(placed.scenario.name, tool.name, status, target_bytes, job.source_bytes, reason, **more)

        if reason := tool.missing():
            return ended(NOT_INSTALLED, reason)
        if tool.needs_source and job.source is None:
            return ended(NOT_FOR_THIS, "it needs a source")
        needed = tool.bytes_per_source_byte * job.source_bytes
        if needed > budget.memory_bytes:
            return ended(DOES_NOT_FIT, f"needs about {needed / 1e9:.0f} GB, given {budget.memory_bytes / 1e9:.0f} GB")
        try:
            build, said = _phase(tool.build(job), budget)
            apply, _ = _phase(tool.apply(job), budget)
            _compare(job, tool)
        except Overrun as error:
            return ended(DOES_NOT_FIT, str(error))
        except (_Failed, OSError) as error:
            return ended(FAILED, str(error))
        return ended(OK, bytes=job.patch.stat().st_size, build=build, apply=apply, details=_details(tool, said))


def _phase(commands: Sequence[Command], budget: Budget) -> tuple[Phase, str]:
    costs = [_checked(command, budget) for command in commands]
    phase = Phase(
        seconds=round(sum(cost.seconds for cost in costs), 3),
        cpu_seconds=round(sum(cost.cpu_seconds for cost in costs), 3),
        peak_rss_bytes=max(cost.peak_rss_bytes for cost in costs),
        read_bytes=sum(cost.read_bytes for cost in costs),
    )
    return phase, costs[-1].output


def _checked(command: Command, budget: Budget) -> Cost:
    cost = measure(command, memory_bytes=budget.memory_bytes, timeout_seconds=budget.timeout_seconds, folder=_ROOT)
    if cost.exit_code:
        how = f"exit code {cost.exit_code}" if cost.exit_code > 0 else f"ended by signal {-cost.exit_code}"
        raise _Failed(f"{how}: {cost.error or cost.output}")
    return cost


def _compare(job: Job, tool: Tool) -> None:
    """Raises: _Failed."""
    if is_ours(tool.name):
        right = _identity(job.output) == _identity(job.target)
    elif tool.same_file:
        right = _sha256(job.output) == _sha256(job.target)
    else:
        right = job.output.exists()  # layer transfer has held what came against the digests
    if not right:
        raise _Failed("what was applied is not the target")


def _identity(image: Path) -> tuple[str, list[str]]:
    """Image ID and layers as the bytes say, whatever their names: two archives of an image may differ outside them."""
    with tarfile.open(image) as archive:
        config, layers = manifest_of(archive)
        digests = [hashlib.file_digest(member(archive, name), "sha256").hexdigest() for name in layers.values()]  # type: ignore[arg-type]
        return hashlib.sha256(member(archive, config).read()).hexdigest(), digests


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _details(tool: Tool, said: str) -> dict[str, Any]:
    if not is_ours(tool.name):
        return {}
    told = json.loads(said.splitlines()[-1])
    return {name: told.get(name) for name in ("bytesRead", "peakRssBytes", "seconds", "fullBytes")}
