"""What a session notes in the module's folder in case it is cut off: where its layers go, and the upload under way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from edge_module.damage import read_own
from edge_module.files import Files, write_atomically

_FOLDER = "registry"
_NAME, _UPLOAD = f"{_FOLDER}/session.json", f"{_FOLDER}/upload"
_MAX_BYTES = 8192


@dataclass(frozen=True)
class SessionRecord:
    target: str = ""
    """Image ID."""
    repository: str = ""


def read_record(files: Files) -> SessionRecord:
    """One without content when there is none that can be read."""
    try:
        found = json.loads(read_own(files, _NAME, _MAX_BYTES) or b"")
        return SessionRecord(**{name: str(found[name]) for name in asdict(SessionRecord())})
    except (ValueError, TypeError, KeyError, RecursionError):
        return SessionRecord()


def write_record(files: Files, record: SessionRecord) -> None:
    if read_record(files) != record:
        files.make_folders(_FOLDER)
        write_atomically(files, _NAME, json.dumps(asdict(record)).encode())


def read_upload(files: Files) -> str:
    """Where the upload is that was under way; "" for none."""
    place = (read_own(files, _UPLOAD, _MAX_BYTES) or b"").decode("ascii", "replace")
    return place if place.startswith("/v2/") and place.isprintable() else ""


def note_upload(files: Files, place: str) -> None:
    """Not synced: it is written for every piece, and what a power loss leaves is purged by the registry in time."""
    if not place:
        files.remove(_UPLOAD)
        return
    files.make_folders(_FOLDER)
    writer = files.create(_UPLOAD)
    try:
        writer.write(place.encode())
    finally:
        writer.close()
