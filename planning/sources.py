"""Which images on a device a patch starts from: the best ranked one, and the module's own image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from imagedelta.ranking import estimate_full, rank
from imagedelta.signatures.signature import Signature


@dataclass(frozen=True)
class Choice:
    """Sources in order, best first; empty for a full bundle."""

    sources: tuple[str, ...]
    estimated_bytes: int


class SourceChooser:
    """Chooses sources from signatures alone. Devices that have the same images share one ranking."""

    def __init__(self, signatures: Mapping[str, Signature]) -> None:
        self._signatures = signatures
        self._choices: dict[tuple[str, frozenset[str], str | None, str], Choice] = {}

    def choose(self, target: str, candidates: frozenset[str], always: str | None, profile: str) -> Choice:
        """Args:
        target: Image ID of a registered image.
        candidates: Image IDs on the device that may serve; unregistered ones are passed over.
        always: The Image Reconstruction module's own image, when it is among them.
        profile: Of the patch.
        """
        usable = frozenset(candidates & self._signatures.keys() - {target})
        key = (target, usable, always if always in usable else None, profile)
        if key not in self._choices:
            self._choices[key] = self._rank(*key)
        return self._choices[key]

    def _rank(self, target: str, usable: frozenset[str], always: str | None, profile: str) -> Choice:
        wanted = self._signatures[target]
        further = [self._signatures[always]] if always else []
        candidates = [self._signatures[image_id] for image_id in sorted(usable)]
        ranked = rank(wanted, candidates, further, profile=profile)
        full = estimate_full(wanted)
        if not ranked or ranked[0].estimated_bytes >= full:
            return Choice((), full)
        best = ranked[0]
        sources = (best.image_id,) if always in (None, best.image_id) else (best.image_id, always or "")
        return Choice(sources, best.estimated_bytes)


@dataclass(frozen=True)
class Spending:
    """What a plan costs one device.

    Attributes:
        bytes_per_second: Of its link, or what it may take of that; None when neither is known.
        open_share: The part of a day in which it may take anything.
    """

    bytes: int
    bytes_per_second: float | None
    money_per_megabyte: float | None
    open_share: float = 1.0

    @cached_property
    def hours_on_link(self) -> float | None:
        """With the hours of the day in which nothing is fetched."""
        if self.bytes_per_second is None:
            return None
        return self.bytes / self.bytes_per_second / self.open_share / 3600

    @cached_property
    def money(self) -> float | None:
        return None if self.money_per_megabyte is None else self.bytes / 1_000_000 * self.money_per_megabyte
