"""Folders: whether they can be written and have room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imagedelta.limits import GIB, MIB
from imagedelta_cli.checks.finding import Finding, State

_COMFORTABLE_BYTES = 5 * GIB
"""An image with its layers unpacked, twice."""
_LEAST_BYTES = 200 * MIB


def check_folder(check: str, folder: Path) -> Iterator[Finding]:
    """Write a file and look at the free space."""
    if not folder.is_dir():
        yield Finding(check, State.FAILED, f"{folder} does not exist", f"mkdir -p {folder}, or correct the setting")
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
            probe.flush()
    except OSError as error:
        yield Finding(check, State.FAILED, f"{folder}: {error.strerror}", "Correct its permissions, or name another.")
        return
    yield _room(check, folder, shutil.disk_usage(folder).free)


def _room(check: str, folder: Path, free: int) -> Finding:
    found = f"{folder} can be written, {free / GIB:.1f} GiB free"
    if free >= _COMFORTABLE_BYTES:
        return Finding(check, State.OK, found)
    state = State.WARNING if free >= _LEAST_BYTES else State.FAILED
    return Finding(check, state, found, "Free some space: images are unpacked here.")
