"""Which images may go: those that the cloud sent, wants no longer, and nothing here needs.

Everything doubtful stays. An image that people loaded, another tool stored or another store lent is never among them;
nor is any while the cloud's list of images to keep is empty or unknown, or while a bundle is on its way whose sources
are not known. The newest image of each repository stays whatever the lists say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_module.engines import PresentImage
from edge_module.journal import FINAL, Job
from imagedelta.names import name_or_none

GRACE_SECONDS = 86_400.0
"""An image goes when it was dispensable for so long, and the cloud has confirmed its list once more after that."""


@dataclass(frozen=True)
class Facts:
    images: Sequence[PresentImage]
    jobs: Sequence[Job]
    keep: Collection[str]
    """Image IDs of the twin that was fetched last."""
    needed: Collection[str] | None
    """Targets and sources of the bundles that are here or on their way; None when they are not all known."""


def dispensable(facts: Facts) -> list[str]:
    """Image IDs, those of the oldest bundles first."""
    if not facts.keep or facts.needed is None:
        return []
    brought = _brought(facts.jobs)
    under_way = {job.image_id for job in facts.jobs if job.state not in FINAL}
    stays = {*facts.keep, *facts.needed, *under_way, *_newest(facts.images, brought)}
    found = [image.image_id for image in facts.images if image.image_id in brought and image.image_id not in stays]
    return sorted(found, key=lambda image_id: (brought[image_id], image_id))


class Grace:
    """Remembers since when images have been dispensable; of this run alone, so a restart begins anew."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: dict[str, float] = {}
        self._ripe_at: dict[str, int] = {}

    def over(self, image_ids: Iterable[str], fetches: int) -> list[str]:
        """Those whose grace is over.

        Args:
            image_ids: All that are dispensable now.
            fetches: How often the twin was fetched in this run.
        """
        now, found = self._monotonic(), list(image_ids)
        self._since = {each: self._since.get(each, now) for each in found}
        ripe = [each for each in found if now - self._since[each] >= GRACE_SECONDS]
        self._ripe_at = {each: self._ripe_at.get(each, fetches) for each in ripe}
        return [each for each in ripe if fetches > self._ripe_at[each]]


def _brought(jobs: Iterable[Job]) -> dict[str, int]:
    """Images that bundles of the cloud made here -> the highest number of such a bundle."""
    brought: dict[str, int] = {}
    for job in jobs:
        if job.sealed and job.state == "succeeded":
            brought[job.image_id] = max(job.number, brought.get(job.image_id, 0))
    return brought


def _newest(images: Iterable[PresentImage], brought: Mapping[str, int]) -> set[str]:
    """Of each repository, the image that was brought last."""
    newest: dict[str, str] = {}
    for image in sorted(images, key=lambda each: brought.get(each.image_id, -1)):
        newest.update(dict.fromkeys(map(_repository, image.references), image.image_id))
    return set(newest.values())


def _repository(reference: str) -> str:
    name = name_or_none(reference)
    return f"{name.host}/{name.path}" if name else reference
