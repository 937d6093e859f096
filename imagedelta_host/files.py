"""Small files that survive a crash: whole or absent, never half written."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from imagedelta.whole_files import write_whole
from imagedelta_host.errors import StateDamaged

_MAX_OBJECT_BYTES = 1 << 20


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, for its owner alone."""
    write_whole(path, content, mode=0o600)


def set_aside(path: Path) -> Path:
    """Rename a damaged file so that a new one can take its place; returns its new name, with the time."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    path.rename(aside)
    return aside


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the host's own; empty when there is no such file.

    Raises:
        StateDamaged: It is there and is something else, or over 1 MiB.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_OBJECT_BYTES + 1)
        value = json.loads(content) if len(content) <= _MAX_OBJECT_BYTES else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StateDamaged(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise StateDamaged(f"{path} holds no JSON object")
    return value
