"""Cases of choosing a source, and how good the choices were: the chosen source's real patch against the best one's."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.ranking_pairs import DEVICE, QUICK, Pair
from imagedelta.delta import DEFAULT_PROFILE
from imagedelta.ranking import rank
from imagedelta.signatures import Signature

SUBSETS, SUBSET_SIZE = 10, 5
_ALONE = "big-"
"""Images ten times the size of all others are compared among each other only."""


@dataclass(frozen=True)
class Case:
    """A target, and the images on a device."""

    target: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What was chosen in a case."""

    case: Case
    chosen: str
    best: str
    regret: float
    """How much larger the chosen patch is than the best one, as a part of that; infinite if it was not measured."""
    coding: str
    """In which coding the best one was measured."""
    unmeasured: int
    """Sources without a figure: they count as worse than those with one."""


class Figures:
    """The best known size of each measured pair's patch."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._sizes = {(pair.target, pair.source, pair.coding): pair.patch_bytes for pair in pairs}
        self._measured = dict.fromkeys((target, source) for target, source, _ in self._sizes)

    def measured(self) -> Iterator[tuple[str, str]]:
        """Yield (target, source) of each pair with a figure."""
        return iter(self._measured)

    def coding(self, target: str, source: str) -> str:
        """Return the coding that a pair's figure comes from."""
        return DEVICE if (target, source, DEVICE) in self._sizes else QUICK

    def size(self, target: str, source: str) -> float:
        """Return the bytes as the device would get them; from the quick coding, reduced by what coding well saves.

        Raises:
            KeyError: The pair was not measured.
        """
        exact = self._sizes.get((target, source, DEVICE))
        return exact if exact is not None else self._sizes[target, source, QUICK] * self.saving(target)

    def saving(self, target: str) -> float:
        """Return what a patch to the target has in the device's coding per byte in the quick one; 1.0 if unknown."""
        return median(self.savings(target) or self.savings() or [1.0])

    def savings(self, target: str = "") -> list[float]:
        """Return that of each pair measured in both codings, of one target or of all."""
        both = [
            (size, self._sizes.get((to, source, QUICK)))
            for (to, source, coding), size in self._sizes.items()
            if coding == DEVICE and target in ("", to)
        ]
        return [size / quick for size, quick in both if quick]


def cases(names: Iterable[str]) -> Iterator[Case]:
    """For each target all other images, then random subsets of them, the same in each run."""
    known = sorted(names)
    for target in known:
        others = [name for name in known if name != target and _is_alone(name) == _is_alone(target)]
        if others:
            yield Case(target, tuple(others))
        if len(others) > SUBSET_SIZE:
            for number in range(SUBSETS):
                chosen = random.Random(f"{target} {number}").sample(others, SUBSET_SIZE)  # noqa: S311 - to repeat it
                yield Case(target, tuple(sorted(chosen)))


def pairs_of(every: Iterable[Case]) -> list[tuple[str, str]]:
    """Return each (target, source) that occurs, once."""
    return list(dict.fromkeys((case.target, source) for case in every for source in case.sources))


def judge(
    case: Case, signatures: Mapping[str, Signature], figures: Figures, profile: str = DEFAULT_PROFILE.name
) -> Outcome | None:
    """Rank the sources of a case and hold the first against the best; ``None`` if none of them was measured."""
    measured = set(figures.measured())
    known = [source for source in case.sources if (case.target, source) in measured]
    if not known:
        return None
    names = {signatures[source].image_id: source for source in case.sources}
    sources = [signatures[source] for source in case.sources]
    chosen = names[rank(signatures[case.target], sources, profile=profile)[0].image_id]
    best = min(known, key=lambda source: (figures.size(case.target, source), source))
    regret = float("inf")
    if chosen in known:
        regret = figures.size(case.target, chosen) / figures.size(case.target, best) - 1
    return Outcome(case, chosen, best, regret, figures.coding(case.target, best), len(case.sources) - len(known))


def _is_alone(name: str) -> bool:
    return name.startswith(_ALONE)
