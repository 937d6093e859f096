"""The container in which pipelines run the command line: built without a network, used as Azure's agent uses it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.archive_tools import require_tool
from tests.e2e.device.module_image import base_archives
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.pipelines.pipelines import ROOT

TAG = "imagedelta:tests"
_JQ = ("/usr/bin/jq", "/usr/lib/x86_64-linux-gnu/libjq.so.1", "/usr/lib/x86_64-linux-gnu/libonig.so.5")


class CommandLineContainer:
    """A context manager: it runs within it, and sees ``folder`` at the same path."""

    def __init__(self, daemon: DockerDaemon, folder: Path) -> None:
        self._daemon = daemon
        self._folder = folder
        self._id = ""

    def __enter__(self) -> CommandLineContainer:
        build_image(self._daemon, self._folder / "wheels")
        mount = f"{self._folder}:{self._folder}"
        command = ["run", "--detach", "--network", "host", "--volume", mount, TAG, "sleep", "1800"]
        self._id = self._daemon.docker(*command).strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.docker("rm", "--force", self._id)

    def command(self, script: Path, cwd: Path, env: Mapping[str, str]) -> list[str]:
        """What runs a script in it."""
        given = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
        tool = require_tool("docker", "docker.io")
        where = ["--host", self._daemon.host, "exec", "--workdir", str(cwd), *given, self._id]
        return [tool, *where, "bash", "--noprofile", "--norc", str(script)]

    def said(self, script: str) -> str:
        """What a script writes there."""
        return self._daemon.docker("exec", self._id, "bash", "--noprofile", "--norc", "-c", script)

    def config(self) -> Any:
        form = "{{json .Config.Entrypoint}} [{{.Config.User}}]"
        return self._daemon.docker("image", "inspect", "--format", form, TAG).strip()


def build_image(daemon: DockerDaemon, wheels: Path) -> None:
    """From pipelines/Dockerfile, on Debian with pip and jq."""
    base, _ = base_archives()
    daemon.docker("import", base, "base:python")
    jq = {"Dockerfile": b"FROM base:python\nCOPY usr /usr\n", **{name[1:]: Path(name).read_bytes() for name in _JQ}}
    build(daemon, context(jq), "base:jq")
    wheels.mkdir()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(wheels)]
    subprocess.run(
        [*pip, "--constraint", "constraints.txt", ".[entra]", "setuptools>=77"], cwd=ROOT, check=True, timeout=300
    )
    files = {name: (ROOT / name).read_bytes() for name in files_of_context()}
    files |= {f"wheelhouse/{wheel.name}": wheel.read_bytes() for wheel in wheels.iterdir()}
    build(daemon, context(files), TAG, "--file", "pipelines/Dockerfile", "--build-arg", "BASE_IMAGE=base:jq")


def files_of_context() -> list[str]:
    """What the Dockerfile's own .dockerignore lets through, and the Dockerfile."""
    lines = (ROOT / "pipelines/Dockerfile.dockerignore").read_text().splitlines()
    found = [ROOT / "pipelines/Dockerfile"]
    for path in [ROOT / line[1:] for line in lines if line.startswith("!")]:
        found += [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path] * path.exists()
    return [str(file.relative_to(ROOT)) for file in found if "__pycache__" not in file.parts]


def context(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755 if "/bin/" in name else 0o644
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def build(daemon: DockerDaemon, files: bytes, tag: str, *options: str) -> None:
    command = [
        require_tool("docker", "docker.io"),
        "build",
        "--network",
        "none",
        "--force-rm",
        "--tag",
        tag,
        *options,
        "-",
    ]
    env = {**daemon.env, "PATH": "/usr/local/bin:/usr/bin:/bin", "DOCKER_BUILDKIT": "0"}
    done = subprocess.run(command, input=files, env=env, capture_output=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout.decode()[-3000:] + done.stderr.decode()[-3000:]
