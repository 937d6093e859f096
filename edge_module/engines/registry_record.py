"""What a session notes in the module's folder in case it is cut off: where its layers go, and the upload it began."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from edge_module.files import Files, read_bounded, write_atomically

_FOLDER = "registry"
_NAME = f"{_FOLDER}/session.json"
_MAX_BYTES = 8192


@dataclass(frozen=True)
class SessionRecord:
    target: str = ""
    """Image ID."""
    repository: str = ""
    upload: str = ""
    """Place of the upload that was begun last, "" when it was finished or dropped."""


def read_record(files: Files) -> SessionRecord:
    """One without content when there is none that can be read."""
    try:
        found = json.loads(read_bounded(files, _NAME, _MAX_BYTES) or b"")
        return SessionRecord(**{name: str(found[name]) for name in asdict(SessionRecord())})
    except (ValueError, TypeError, KeyError, RecursionError):
        return SessionRecord()


def write_record(files: Files, record: SessionRecord) -> None:
    files.make_folders(_FOLDER)
    write_atomically(files, _NAME, json.dumps(asdict(record)).encode())
