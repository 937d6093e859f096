"""The container in which pipelines run the command line: built without a network, used as Azure's agent uses it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.archive_tools import require_tool
from tests.e2e.device.module_image import base_archives
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.pipelines.pipelines import ROOT

pytestmark = pytest.mark.e2e
_TAG = "imagedelta:tests"
_JQ = ("/usr/bin/jq", "/usr/lib/x86_64-linux-gnu/libjq.so.1", "/usr/lib/x86_64-linux-gnu/libonig.so.5")


@pytest.fixture(scope="module")
def container(daemon: DockerDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As the agent starts it: with a command of its own, and its work mounted."""
    base, _ = base_archives()
    daemon.docker("import", base, "base:python")
    jq = {"Dockerfile": b"FROM base:python\nCOPY usr /usr\n", **{name[1:]: Path(name).read_bytes() for name in _JQ}}
    build(daemon, context(jq), "base:jq")
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(wheels)]
    subprocess.run(
        [*pip, "--constraint", "constraints.txt", ".[entra]", "setuptools>=77"], cwd=ROOT, check=True, timeout=300
    )
    files = {name: (ROOT / name).read_bytes() for name in files_of_context()}
    files |= {f"wheelhouse/{wheel.name}": wheel.read_bytes() for wheel in wheels.iterdir()}
    build(daemon, context(files), _TAG, "--file", "pipelines/Dockerfile", "--build-arg", "BASE_IMAGE=base:jq")
    started = daemon.docker("run", "--detach", "--network", "host", _TAG, "sleep", "600").strip()
    yield started
    daemon.docker("rm", "--force", started)


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


def test_steps_find_the_command_line_and_what_their_scripts_call(daemon: DockerDaemon, container: str) -> None:
    def inside(script: str) -> str:
        return daemon.docker("exec", container, "bash", "--noprofile", "--norc", "-c", script)

    assert inside("imagedelta --version").startswith("imagedelta, version")
    assert inside("imagedelta plan --help").startswith("Usage: imagedelta plan")
    assert inside("jq --version; python3 -c 'from azure.identity import AzurePipelinesCredential'").startswith("jq-")
    assert inside("mapfile --help >/dev/null; printf ok; command -v groupadd useradd >/dev/null") == "ok"


def test_it_has_no_entrypoint_and_a_user_that_may_add_another(daemon: DockerDaemon, container: str) -> None:
    shown = daemon.docker("image", "inspect", "--format", "{{json .Config.Entrypoint}} [{{.Config.User}}]", _TAG)

    assert shown.strip() == "null []"
