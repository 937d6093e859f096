"""Free bytes on the disk of the Docker store, as far as they can be seen from here.

A module sees its own folders only. But a Docker volume, which is where a module keeps its folder as a rule, is in the
Docker store's own root; and outside of a container that root itself is in sight.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def free_on_docker_disk(
    root: str, own_folder: Path | None = None, mounts: Path = Path("/proc/self/mountinfo")
) -> int | None:
    """None: it cannot be known.

    Args:
        root: The daemon's data root, on the host.
        own_folder: The module's folder, if it may be a volume.
    """
    if own_folder is not None and _is_volume(own_folder, mounts):
        return shutil.disk_usage(own_folder).free
    if _is_docker_root(root):
        return shutil.disk_usage(root).free
    return None


def _is_docker_root(root: str) -> bool:
    """In a container there may be a folder of that name, and it is another one."""
    return bool(root) and os.path.isdir(f"{root}/image") and os.path.isdir(f"{root}/volumes")  # noqa: PTH112


def _is_volume(folder: Path, mounts: Path) -> bool:
    """A volume is mounted from ``…/volumes/NAME/_data``. Source: proc(5), mountinfo, fields 4 and 5."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return False
    fields = [line.split(" ") for line in lines]
    there = {each[4]: each[3] for each in fields if len(each) > 4}
    place = there.get(str(folder), "").split("/")
    return len(place) > 3 and place[-1] == "_data" and place[-3] == "volumes"
