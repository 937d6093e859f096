"""A raw stream of a patch as it is read: forward only."""

from __future__ import annotations

from typing import Protocol


class Tape(Protocol):
    """What the readers of items, headers and differences need of a stream."""

    def read(self, length: int) -> bytes:
        """Return exactly ``length`` bytes.

        Raises:
            Truncated: The stream has fewer.
            ContentError: It is damaged.
        """
        ...

    def some(self, most: int) -> bytes:
        """Return 1 to ``most`` bytes: what is at hand; raises as ``read``."""
        ...

    def unread(self, count: int) -> None:
        """Take back the last bytes that ``some`` returned."""
        ...

    def number(self) -> int:
        """Return the next number; raises as ``read``."""
        ...

    def signed(self) -> int:
        """Return the next number that may be negative; raises as ``read``."""
        ...
