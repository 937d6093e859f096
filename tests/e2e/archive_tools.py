"""skopeo and a private dockerd for tests: archives written and read by the tools that users have."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
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


class DockerDaemon:
    """A dockerd of its own, with its data under ``root``; needs root, but no network and no iptables."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._host = f"unix://{root}/docker.sock"
        self._client = require_tool("docker", "docker.io")
        command = [require_tool("dockerd", "docker.io"), "--data-root", root / "data", "-H", self._host]
        command += ["--exec-root", root / "exec", "-p", root / "pid", "--iptables=false", "--bridge=none"]
        self._log = (root / "dockerd.log").open("wb")
        self._process = subprocess.Popen(
            [str(part) for part in command], stdout=self._log, stderr=self._log, start_new_session=True
        )

    def wait_until_ready(self) -> None:
        """Return when it answers; fail with its last words if it does not within a minute."""
        for _ in range(300):
            if self._process.poll() is None and self._answers():
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        last_words = (self._root / "dockerd.log").read_text(errors="replace")[-2000:]
        pytest.fail(f"dockerd does not run (it needs root): {last_words}", pytrace=False)

    def docker(self, *arguments: str | Path, stdin: bytes | None = None) -> str:
        """Run a command of the docker client against this daemon."""
        return run(self._client, *arguments, env=self.env, stdin=stdin)

    @property
    def env(self) -> dict[str, str]:
        """Where clients find it."""
        return {"DOCKER_HOST": self._host}

    def stop(self) -> None:
        """End the daemon this object started."""
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()

    def _answers(self) -> bool:
        asked = [self._client, "-H", self._host, "version"]
        return subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0
