"""What a person sees while the demo runs: numbered steps, a bar for each transfer, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from demo import words
from demo.record import RunRecord

STEPS = 8
_LINE_SECONDS = 5.0
"""Without a terminal: the least time between two lines about the same transfer's bytes."""


class Show:
    """Writes to one console: colours, bars and redrawing on a terminal; a line for each piece of news elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()
        self._number = 0

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._number += 1
        self.console.print(f"\n[bold]{self._number}/{STEPS} {title}[/bold]  [dim]{self._clock()}[/dim]")

    def fetched(self, done: int, total: int) -> None:
        """Bytes of the packages that are on this machine."""
        if done < total:
            self.line(f"fetched {words.size(done)} of {words.size(total)}, once: later runs need no network")

    def line(self, text: str) -> None:
        self.console.print(f"    {text}", highlight=False)

    def news(self, text: str) -> None:
        """Something worth to stand out, like a kill."""
        self.console.print(f"    [bold red]{text}[/bold red]  [dim]{self._clock()}[/dim]", highlight=False)

    @contextmanager
    def transfers(self) -> Iterator[TransferBars]:
        """A place where transfers are watched."""
        if not self.console.is_terminal:
            yield TransferBars(None, self)
            return
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[amount]}"),
            TextColumn("[dim]{task.fields[state]}[/dim]"),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            yield TransferBars(bars, self)

    def _clock(self) -> str:
        return words.duration(time.monotonic() - self._started)


class TransferBars:
    """The state and bytes of each transfer, as they change."""

    def __init__(self, bars: Progress | None, show: Show) -> None:
        self._bars = bars
        self._show = show
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, tuple[str, float]] = {}

    def update(self, transfer: Mapping[str, Any], fetched: int) -> None:
        """Show one transfer as the API has it; ``fetched`` of its bundle's bytes are on the device."""
        name = f"{transfer['deviceId']:<8} {transfer['reference']}"
        total = transfer["bundleBytes"] or 0
        if transfer["state"] in ("received", "applying", "succeeded"):
            fetched = total
        if self._bars is None:
            self._tell(name, transfer["state"], fetched, total)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(f"{name:<16}", total=None, amount="", state="")
        amount = f"{words.size(fetched)} of {words.size(total)}" if total else "building its patch"
        self._bars.update(
            self._tasks[name], completed=fetched, total=total or None, amount=f"{amount:<22}", state=transfer["state"]
        )

    def _tell(self, name: str, state: str, fetched: int, total: int) -> None:
        last_state, last_time = self._last.get(name, ("", 0.0))
        now = time.monotonic()
        if state == last_state and (state != "receiving" or now - last_time < _LINE_SECONDS):
            return
        self._last[name] = (state, now)
        amount = f", {words.size(fetched)} of {words.size(total)}" if total and state == "receiving" else ""
        self._show.line(f"{name:<16} {state}{amount}")


def plan_table(plan: Mapping[str, Any], references: Mapping[str, str]) -> Table:
    """What the dry run says, per device and image."""
    table = _table("Device", "Image", "Source", ">Full", ">Planned", ">On the link")
    for device in plan["devices"]:
        hours = device["hoursOnLink"]
        link = "" if hours is None else words.duration(hours * 3600)
        for number, image in enumerate(device["images"]):
            source = "already there" if image["alreadyPresent"] else references.get(image["source"], "nothing")
            planned = "–" if image["alreadyPresent"] else words.size(image["estimatedBytes"])
            first = (device["deviceId"], link) if number == 0 else ("", "")
            table.add_row(first[0], image["reference"], source, words.size(image["fullBytes"]), planned, first[1])
    return table


def result_table(record: RunRecord) -> Table:
    """What came of it, per transfer: 76 columns at most, so that it fits any terminal."""
    table = _table("Device", "Image", "Source", ">Full", ">Pull", ">Bundle", ">Of pull", ">Link", "State")
    for fact in record.transfers:
        link = "–" if fact.seconds_on_link is None else f"{fact.seconds_on_link:.1f} s"
        state = f"{fact.state} ✓" if fact.verified else fact.state
        table.add_row(
            fact.device,
            fact.image,
            fact.source or "none",
            words.size(fact.full_bytes),
            words.size(fact.pull_bytes),
            words.size(fact.bundle_bytes),
            words.share(fact.share_of_pull),
            link,
            state,
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading.lstrip(">"), justify="right" if heading.startswith(">") else "left", no_wrap=True)
    return table


def indented(table: Table) -> Table:
    """The table under the text of a step."""
    frame = Table.grid()
    frame.add_row("    ", table)
    return frame


def listing(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "nothing"
