"""Takes out of a folder of packages what never runs on a device: ``python3 slim.py FOLDER``.

Licences and the versions of what is there stay. Symbols of libraries go: with them some
wheels are ten times their size.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_FOLDERS = ("bin", "**/tests", "**/__pycache__", "**/include")
_FILES = ("**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.c", "**/*.h", "zstandard/_cffi*.so")
"""The last one is for PyPy."""


def slim(folder: Path) -> None:
    for pattern in _FOLDERS:
        for found in [each for each in folder.glob(pattern) if each.is_dir()]:
            shutil.rmtree(found)
    for pattern in _FILES:
        for found in list(folder.glob(pattern)):
            found.unlink()
    libraries = [str(path) for path in folder.glob("**/*.so*")]
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)  # noqa: S603, S607 - in the image that builds


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
