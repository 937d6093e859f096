"""What a restored database can still be believed of a device: decided by what lies in its outbox.

A backup knows neither the bundles that were made after it nor what became of the older ones. An outbox holds exactly
the bundles that were on their way at the end. So of the transfers under way those stay whose bundle lies there under
its very name; the others are given up, and what they were to bring is planned anew under other ids once the device has
told what it has. A bundle's id is never given twice, nor its number: devices know those they have seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.outbox import number_of, transfer_of
from contracts.records import Underway

_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
"""Of the numbers that follow a restore. No device gets a bundle a second for years on end, so that the seconds since
then are above every number that it was ever given, however often its database was restored."""


@dataclass(frozen=True)
class Verdict:
    """What to do about one device."""

    given_up: tuple[str, ...]
    """Transfers, in order of id."""
    unknown: tuple[str, ...]
    """Names in the outbox that SQL does not know: bundles of lost sets and attempts, and their chunk lists."""
    number: int
    """The highest that lies there; 0 where nothing does."""


def number_after(at: datetime) -> int:
    """Above every number that a device can have been given by then."""
    return int((at - _BEGINNING).total_seconds())


def judge(underway: Collection[Underway], names: Iterable[str]) -> Verdict:
    """Args:
    underway: Every transfer to the device that is not over.
    names: What lies in its outbox.
    """
    there = [name for name in names if transfer_of(name) is not None]
    known = {one.bundle for one in underway if one.bundle is not None}
    unknown = tuple(name for name in there if name.removesuffix(".chunks") not in known)
    contradicted = {found[0] for name in unknown if (found := transfer_of(name)) is not None}
    given_up = sorted(one.transfer_id for one in underway if one.bundle not in there or one.transfer_id in contradicted)
    numbers = [number for name in there if (number := number_of(name)) is not None]
    return Verdict(tuple(given_up), unknown, max(numbers, default=0))
