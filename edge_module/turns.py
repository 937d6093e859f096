"""Whose turn it is on the link: the highest class first, but every lower one now and then.

Classes are priority digits, 1 before 2 before 3. While several wait, each class gets one chunk for every
eight of the class above it, so an urgent bundle is hardly slowed and a background one still arrives.
"""

from __future__ import annotations

from collections.abc import Iterable

SHARE = 8


class Turns:
    def __init__(self) -> None:
        self._served: dict[str, int] = {}

    def choose(self, waiting: Iterable[str]) -> str:
        """The class whose next chunk is due; ``waiting`` holds at least one."""
        classes = sorted(set(waiting))
        if classes != sorted(self._served):
            self._served = dict.fromkeys(classes, 0)  # someone came or went: the highest starts again
        return min(classes, key=lambda each: ((self._served[each] + 1) * SHARE ** classes.index(each), each))

    def serve(self, chosen: str) -> None:
        if chosen in self._served:
            self._served[chosen] += 1

    def run_length(self, chosen: str) -> int:
        """How many chunks in a row the class may ask for in one request."""
        classes = sorted(self._served)
        return SHARE if len(classes) <= 1 or chosen == classes[0] else 1
