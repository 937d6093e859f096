"""Uploads that were begun, so that the same command goes on with them after it was stopped.

One file for each in the user's state folder, readable by nobody else: the URL in it opens the upload. It is named by
the host and by the archive with its size and time, so that another archive never takes an old upload over.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagedelta.whole_files import write_whole

_MAX_BYTES = 1 << 16
_NEEDED = {"uploadId", "url", "maxBytes", "blockBytes", "expiresAt"}


class KeptUpload:
    """The upload of one archive to one host. Without a place to keep it, nothing is resumed and nothing fails."""

    def __init__(self, host: str, archive: Path) -> None:
        facts = archive.stat()
        of = "\n".join([host, str(archive.resolve()), str(facts.st_size), str(facts.st_mtime_ns)])
        self._path = _folder() / f"{hashlib.sha256(of.encode()).hexdigest()[:32]}.json"

    def read(self) -> dict[str, Any] | None:
        """What ``write`` kept, while it is good for anything."""
        try:
            with self._path.open("rb") as stream:
                upload = json.loads(stream.read(_MAX_BYTES))
            if upload.keys() >= _NEEDED and datetime.fromisoformat(upload["expiresAt"]) > datetime.now(UTC):
                return dict(upload)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError):
            pass
        self.drop()
        return None

    def write(self, upload: dict[str, Any]) -> None:
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._path, json.dumps(upload).encode(), mode=0o600)

    def drop(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "imagedelta" / "uploads"
