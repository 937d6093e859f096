"""Whose turn it is on the link: the highest class first, but every lower one now and then.

Classes are priority digits, 1 before 2 before 3. While several wait, each class gets one chunk for every
eight of the class above it, so an urgent bundle is hardly slowed and a background one still arrives.

Every class has a moment when it is due, in chunks carried; the one that is due first is next. A class that comes and
goes keeps its moment: bundles of other classes that come and go all day do not push it back.
"""

from __future__ import annotations

from collections.abc import Iterable

SHARE = 8


class Turns:
    def __init__(self) -> None:
        self._classes: list[str] = []
        self._due: dict[str, int] = {}
        self._now = 0

    def choose(self, waiting: Iterable[str]) -> str:
        """The class whose next chunk is due; ``waiting`` holds at least one."""
        self._classes = sorted(set(waiting))
        for each in self._classes:
            self._due[each] = max(self._now, self._due.get(each, self._now + self._step(each)))
        return min(self._classes, key=lambda each: (self._due[each], each))

    def serve(self, chosen: str) -> None:
        """The class got a chunk."""
        if chosen in self._due:
            self._now = max(self._now, self._due[chosen])
            self._due[chosen] = self._now + self._step(chosen)

    def run_length(self, chosen: str) -> int:
        """How many chunks in a row the class may ask for in one request."""
        return SHARE if len(self._classes) <= 1 or chosen == self._classes[0] else 1

    def _step(self, chosen: str) -> int:
        return int(SHARE ** self._classes.index(chosen)) if chosen in self._classes else 1
