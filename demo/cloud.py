"""The cloud as a person and a pipeline meet it: the command ``imagedelta`` and the HTTP interface behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from demo.processes import Process, ProcessRoom, tail
from demo.workspace import PROJECT, Workspace

_COMMAND = str(Path(sys.executable).with_name("imagedelta"))
_COMMAND_SECONDS = 600
_READY_SECONDS = 60


class CommandFailed(Exception):
    """A command of the demo ended with another exit code than 0; the message holds what it said."""


class NotReady(Exception):
    """The host did not answer in time."""


def run_command(*arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run ``imagedelta <arguments> --json`` and return its answer.

    Raises:
        CommandFailed: Its exit code is not 0.
    """
    done = subprocess.run(  # noqa: S603 - the command installed with this project
        [_COMMAND, *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-6:])
        raise CommandFailed(f"imagedelta {' '.join(arguments)} ended with exit code {done.returncode}:\n{said}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


class Cloud:
    """The embedded host with the project's function app: started, killed, started again, and asked.

    A context manager, inside the room that ends its process.
    """

    def __init__(self, room: ProcessRoom, workspace: Workspace, environment: Mapping[str, str], port: int) -> None:
        """Start the host and wait until it answers."""
        self._workspace = workspace
        command = [_COMMAND, "host", "start", "--app", str(PROJECT), "--port", str(port)]
        command += ["--state", str(workspace.host)]
        self.process: Process = room.start("host", command, environment)
        self.port = port
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/", timeout=60, trust_env=False)
        self.wait_until_ready()
        self.endpoint: dict[str, Any] = json.loads(workspace.endpoint.read_bytes())
        self._client.headers["x-functions-key"] = self.endpoint["key"]

    def __enter__(self) -> Cloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def restart(self) -> None:
        """Start again after a kill, on the same state."""
        self._workspace.endpoint.unlink(missing_ok=True)
        self.process.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Raises: ProcessEnded; NotReady."""
        end = time.monotonic() + _READY_SECONDS
        while time.monotonic() < end:
            self.process.require_alive()
            if self._workspace.endpoint.exists() and self._is_healthy():
                return
            time.sleep(0.1)
        raise NotReady(f"the host does not answer; its log ends with:\n{tail(self.process.log)}")

    def command(self, *arguments: str) -> dict[str, Any]:
        """Run ``imagedelta <arguments>`` against this host."""
        address = {"IMAGEDELTA_URL": self.endpoint["url"], "IMAGEDELTA_KEY": self.endpoint["key"]}
        return run_command(*arguments, environment=address)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """The answer of GET /api/``path``.

        Raises: httpx.HTTPError when the host does not answer, or answers with an error.
        """
        answer = self._client.get(path, params=query)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self.get(path, **query, limit="500", **({"after": after} if after else {}))
            found += page["items"]
            after = page.get("next")
            if after is None:
                return found

    def _is_healthy(self) -> bool:
        try:
            return self._client.get("health").status_code == 200
        except httpx.HTTPError:
            return False
