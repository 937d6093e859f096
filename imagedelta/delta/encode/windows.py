"""Windows of a large file: where in the old file each of them looks for its bytes.

Between two versions of a large file, places drift apart. How far is found from a few strings at each window's
border, before any window is compared, so that windows can be compared side by side.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from imagedelta.delta.content import Extent
from imagedelta.delta.format.profiles import Profile
from imagedelta.limits import MIB

_BORDER = MIB
_ANCHORS, _ANCHOR_BYTES = 32, 32
_LEAST_DISTINCT = 8
"""Different bytes of an anchor: padding and tables are found everywhere."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a window is in the new file, and which bytes of the old file it is compared with."""

    at: int
    size: int
    place: int
    """Where in the old file its first byte is expected."""
    start: int
    end: int
    """Bytes of the old file to look at."""


class Windows:
    """The windows of one file; several threads may ask."""

    def __init__(self, new: Extent, old: Extent, profile: Profile) -> None:
        self._new, self._old = new, old
        self._bytes, self._reach = profile.window_bytes, profile.window_reach_bytes
        self._drifts = [0]
        self._lock = threading.Lock()

    def window(self, number: int) -> Place:
        """Return a window; what is read for it are the borders up to its start."""
        with self._lock:
            while len(self._drifts) <= number:
                self._drifts.append(self._drift_at(len(self._drifts) * self._bytes, self._drifts[-1]))
        at = number * self._bytes
        size = min(self._bytes, self._new.size - at)
        place = min(max(0, at + self._drifts[number]), self._old.size)
        start = max(0, place - self._reach)
        return Place(at, size, place, start, min(self._old.size, place + size + self._reach))

    def _drift_at(self, border: int, drift: int) -> int:
        """Return by how far the bytes before ``border`` have moved, about ``drift`` if nothing tells."""
        length = min(_BORDER, self._bytes)
        new = self._new.read_at(border - length, length)
        start = min(max(0, border - length + drift - self._reach), self._old.size)
        old = self._old.read_at(start, min(self._old.size, border + drift + self._reach) - start)
        found: Counter[int] = Counter()
        for at in range(0, length - _ANCHOR_BYTES + 1, max(1, length // _ANCHORS)):
            anchor = new[at : at + _ANCHOR_BYTES]
            place = old.find(anchor) if len(set(anchor)) >= _LEAST_DISTINCT else -1
            if place >= 0:
                found[start + place - (border - length + at)] += 1
        return found.most_common(1)[0][0] if found else drift


def window_count(new_size: int, old_size: int, profile: Profile) -> int:
    """Return into how many windows a changed file is cut; 1 for one that is compared whole."""
    if max(new_size, old_size) <= profile.whole_file_bytes:
        return 1
    return -(-new_size // profile.window_bytes)
