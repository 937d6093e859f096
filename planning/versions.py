"""Which versions of a device's deployment are of our own making, since a release was planned.

``$version`` of $edgeAgent's desired properties grows by one with each write. A release of ours leads from the version
that it was written on to the next; so releases of other workstreams since the plan form a chain, and whatever is not
in it is somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Versions:
    planned: int | None
    """The version when the release was planned; None when nobody knows, then nothing is held against it."""
    own: Mapping[int, int]
    """Version before a release of ours -> after it."""

    def are_ours_until(self, version: int) -> bool:
        """Whether nobody but us made the versions from the planned one to this."""
        return self.planned is None or self._last() == version

    def before(self, version: int) -> int:
        """The version on which one was written that holds the content already.

        Right after the chain it is our own write, whose worker died before it was recorded.
        """
        last = self._last()
        return last if last is not None and version == last + 1 else version

    def _last(self) -> int | None:
        last = self.planned
        while last is not None and self.own.get(last, last) > last:
            last = self.own[last]
        return last
