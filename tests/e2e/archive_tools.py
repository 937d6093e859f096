"""The tools that users have, run by tests: skopeo and whatever else writes and reads archives."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def require_tool(name: str, package: str) -> str:
    """Return the tool's path, or fail in a sentence that says how to get it."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is not installed: apt-get install {package}", pytrace=False)
    return found


def run(*command: str | Path, env: dict[str, str] | None = None, stdin: bytes | None = None) -> str:
    """Run a command to its end and return what it printed; its complaint is the failure's text."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode()


def skopeo_copy(source: str, target: str, *options: str) -> None:
    """Copy an image between two transports of skopeo, whatever policy the machine has."""
    tool = require_tool("skopeo", "skopeo")
    run(tool, "--insecure-policy", "copy", "--quiet", *options, source, target)
