"""The module's container image, built without a network: from a base that debootstrap makes, and a wheelhouse.

Bases are kept in ``.downloads`` (delete them to have new ones): making them takes minutes and depends on nothing here.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.archive_tools import require_tool, run

ROOT = Path(__file__).parents[3]
DOWNLOADS = ROOT / ".downloads"
UID = 13622
_SUITE, _MIRROR = "bookworm", "http://deb.debian.org/debian"
_PACKAGES = "python3,python3-pip,binutils,ca-certificates"
_NOT_IN_THE_BASE = (
    "./var/cache/*", "./var/lib/apt/lists/*", "./var/log/*", "./usr/share/doc/*", "./usr/share/man/*",
    "./usr/share/locale/*", "./usr/share/info/*", "./usr/share/python-wheels/*", "./usr/lib/python3/dist-packages/*",
    "./usr/lib/x86_64-linux-gnu/*bfd*", "./usr/lib/x86_64-linux-gnu/ldscripts/*", "./usr/bin/x86_64-linux-gnu-*",
)  # fmt: skip
"""What is there to build with, pip and strip, and what Docker Hub's slim image of Python does not have either."""


class Daemon(Protocol):
    """What is asked of tests.e2e.parts.dockerd_process.DockerDaemon."""

    @property
    def env(self) -> dict[str, str]: ...

    def docker(self, *arguments: str | Path, stdin: bytes | None = None) -> str: ...


def base_archives() -> tuple[Path, Path]:
    """Two tars of Debian with Python: the second as it is shipped, the first with pip and what is needed to build.

    One process at a time makes them; another waits for it.
    """
    building, shipped = (DOWNLOADS / f"base-{_SUITE}-{kind}.tar" for kind in ("building", "shipped"))
    DOWNLOADS.mkdir(exist_ok=True)
    with (DOWNLOADS / "bases.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (building.exists() and shipped.exists()):
            _make_bases(building, shipped)
    return building, shipped


def _make_bases(building: Path, shipped: Path) -> None:
    folder = run("mktemp", "--directory").strip()
    try:
        tool = require_tool("debootstrap", "debootstrap")
        _run_long(tool, "--variant=minbase", f"--include={_PACKAGES}", _SUITE, folder, _MIRROR)
        _pack(folder, building, ())
        _pack(folder, shipped, _NOT_IN_THE_BASE)
    finally:
        run("rm", "-rf", folder)


def _pack(folder: str, archive: Path, excluded: Sequence[str]) -> None:
    unfinished = archive.with_suffix(".unfinished")
    options = [f"--exclude={pattern}" for pattern in ("./dev/*", "./var/cache/apt/*", *excluded)]
    _run_long("tar", "-C", folder, "-cf", unfinished, *options, ".")
    unfinished.rename(archive)


def wheelhouse(folder: Path) -> Path:
    """Exactly the wheels of the module's requirements and of the native coder, for this machine's processor."""
    folder.mkdir(parents=True, exist_ok=True)
    _run_long(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--wheel-dir", folder, "--requirement", ROOT / "edge_module/requirements.txt", ROOT / "native",
    )  # fmt: skip
    return folder


def import_bases(daemon: Daemon) -> None:
    """Make the images ``base:build`` and ``base:run``."""
    for archive, tag in zip(base_archives(), ("base:build", "base:run"), strict=True):
        daemon.docker("import", archive, tag)


def build(daemon: Daemon, wheels: Path, tag: str, changes: Mapping[str, bytes] | None = None) -> str:
    """Build the module's image as its Dockerfile says, without a network; returns the image ID.

    Args:
        changes: Files with other content than the project has, by path.
    """
    context = _context(wheels, changes or {})
    arguments = ["--build-arg", "BASE_IMAGE=base:run", "--build-arg", "BUILD_IMAGE=base:build"]
    command = [require_tool("docker", "docker.io"), "build", "--network", "none", "--force-rm", *arguments]
    command += ["--tag", tag, "--file", "edge_module/Dockerfile", "-"]
    _run_long(*command, env={**daemon.env, "DOCKER_BUILDKIT": "0"}, stdin=context)
    return daemon.docker("image", "inspect", "--format", "{{.Id}}", tag).strip()


def inspected(daemon: Daemon, kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(daemon.docker(kind, "inspect", name))
    return found[0]


def _context(wheels: Path, changes: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in files_of_context():
            data = changes.get(name, (ROOT / name).read_bytes())
            _add(archive, name, data)
        for wheel in sorted(wheels.iterdir()):
            _add(archive, f"wheelhouse/{wheel.name}", wheel.read_bytes())
    return made.getvalue()


def _add(archive: tarfile.TarInfo | Any, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def files_of_context() -> Iterator[str]:
    """What Docker would send, by the rules of the Dockerfile's own .dockerignore: the last one that fits counts."""
    lines = (ROOT / "edge_module/Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and line[0] != "#"]
    yield "edge_module/Dockerfile"
    for top in sorted({rule[1:].split("/")[0] for rule in rules if rule[0] == "!"}):
        for path in sorted((ROOT / top).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and not _is_ignored(name, rules):
                yield name


def _is_ignored(name: str, rules: list[str]) -> bool:
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        if _fits(name, pattern):
            ignored = rule[0] != "!"
    return ignored


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern names the file or a folder above it."""
    parts = name.split("/")
    heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in parts)
    return any(head.count("/") == pattern.count("/") and fnmatch(head, pattern) for head in heads)


def _run_long(*command: str | Path, env: Mapping[str, str] | None = None, stdin: bytes | None = None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "LC_ALL": "C", **(env or {})},
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:].decode(errors='replace')}"
