"""A release that is not made now."""

from __future__ import annotations

from imagedelta.errors import ImageDeltaError


class Refused(ImageDeltaError):
    """The device's manifest is not set now; ``state`` is what the member becomes."""

    def __init__(self, message: str, *, code: str, state: str) -> None:
        super().__init__(message, code=code)
        self.state = state
