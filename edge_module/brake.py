"""Whether fetching and applying have to rest: the cloud says so with ``paused``, the crew with a file named ``hold``.

The file may lie in the root folder or in the inbox, where crew can put one without a password. What is in it is told
as the reason. Reports and inventories go on.
"""

from __future__ import annotations

from contextlib import suppress

from edge_module.files import Files, read_bounded
from edge_module.troubles import utc
from edge_module.twin import DesiredState
from imagedelta.errors import DependencyError
from imagedelta.printable import printable

NAMES = ("hold", "inbox/hold", "hold.txt", "inbox/hold.txt")
"""With ``.txt`` too: some file managers add it without a word."""
_MAX_BYTES = 64 * 1024
_MAX_REASON = 200


class Brake:
    def __init__(self, files: Files, desired: DesiredState) -> None:
        self._files = files
        self._desired = desired
        self._last: str | None = None

    @property
    def is_on(self) -> bool:
        """Asked by every part and by the main thread, so it never fails."""
        return self._desired.current.paused or self._name() is not None

    def hold(self) -> dict[str, str] | None:
        """What crew has put down, for the reported properties: since when, by this device's clock, and why."""
        name = self._name()
        if name is None:
            return None
        return {"since": self._since(name), "reason": self._reason(name)}

    def _name(self) -> str | None:
        """Which of the files is there; as it was last, while the disk does not say."""
        with suppress(DependencyError):
            self._last = next((name for name in NAMES if self._files.stamp(name) is not None), None)
        return self._last

    def _since(self, name: str) -> str:
        with suppress(DependencyError):
            if (stamp := self._files.stamp(name)) is not None:
                return utc(stamp.modified_ns / 1e9)
        return ""

    def _reason(self, name: str) -> str:
        try:
            text = read_bounded(self._files, name, _MAX_BYTES) or b""
        except (OSError, DependencyError):
            return ""
        return printable(text.decode(errors="replace").strip())[:_MAX_REASON]
