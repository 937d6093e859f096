"""Talks to Microsoft's Python worker as the Functions host does: messages of FunctionRpc.proto, in their JSON form."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORKER = ROOT / ".venv" / "worker"
RUNNER = Path(__file__).with_name("runner.py")
OURS = ("IMAGEDELTA", "LOCAL_", "AzureWebJobs", "TIMER_")
"""How settings of this project begin."""

TypedData = dict[str, Any]
"""``{"json": text}``, ``{"string": text}``, ``{"bytes": base64}``, ``{"http": …}`` or ``{"collection_bytes": …}``."""


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class Invocation:
    """How an invocation ended: what it ``returned`` and set as ``outputs``, or the ``error`` as "Type: message"."""

    error: str | None
    returned: TypedData | None = None
    outputs: Mapping[str, TypedData] = field(default_factory=dict)


def worker_command(*arguments: str, python: str | Path = sys.executable) -> list[str]:
    assert WORKER.is_dir(), "the worker is not there: run scripts/setup-worker"
    return [str(python), "-P", str(RUNNER), str(WORKER), *arguments]


def clean_environment(**environment: str) -> dict[str, str]:
    """The environment without settings of this project, and with ``environment``."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)} | environment


def verdicts(app: Path) -> dict[str, str | None]:
    """How the worker refuses each function of ``app``: None, or its sentence."""
    return _told(app, "--verdicts")


def refusals(*apps: Path) -> dict[Path, str | None]:
    """How the worker refuses each app: None, or its sentence as "Type: message"."""
    said = _told(ROOT, "--refusals", *map(str, apps))
    return {Path(app): sentence for app, sentence in said.items()}


def _told(folder: Path, *arguments: str) -> dict[str, str | None]:
    done = subprocess.run(
        worker_command(*arguments), cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str | None] = json.loads(done.stdout)
    return said


class AzureWorker:
    """One worker process that has indexed an app."""

    def __init__(self, app: Path, *, python: str | Path = sys.executable, **environment: str) -> None:
        """Start the worker in ``app``, with the packages of ``python``, and have it index it."""
        self._process = subprocess.Popen(
            worker_command(python=python),
            cwd=app,
            env=clean_environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = count(1)
        self._writing = threading.Lock()
        self._waiting: dict[str, Future[dict[str, Any]]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        started = self.ask("worker_init_request", host_version="4", function_app_directory=str(app))
        assert started["result"]["status"] == "Success", started["result"]["exception"]["message"]
        found = self.ask("functions_metadata_request", function_app_directory=str(app))
        self.functions: dict[str, dict[str, Any]] = {item["name"]: item for item in found["function_metadata_results"]}
        for item in self.functions.values():
            loaded = self.ask("function_load_request", function_id=item["function_id"], metadata=item)
            assert loaded["result"]["status"] == "Success", loaded

    def ask(self, event: str, **message: Any) -> dict[str, Any]:
        """Send one event; the worker's answer. Many threads may ask at once."""
        assert self._process.stdin is not None
        number = str(next(self._numbers))
        answer = self._waiting[number] = Future()
        with self._writing:
            self._process.stdin.write(json.dumps({"request_id": number, event: message}) + "\n")
            self._process.stdin.flush()
        return answer.result()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self._waiting.pop(told["request_id"]).set_result(told["answer"])
        for answer in self._waiting.values():
            answer.set_exception(RuntimeError("the worker ended before it answered"))

    def invoke(
        self,
        name: str,
        given: Mapping[str, TypedData],
        metadata: Mapping[str, TypedData] | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> Invocation:
        """Run a function; ``given`` holds the value of each binding by the parameter's name."""
        answer = self.ask(
            "invocation_request",
            invocation_id=str(uuid.uuid4()),
            function_id=self.functions[name]["function_id"],
            input_data=[{"name": parameter, "data": value} for parameter, value in given.items()],
            trigger_metadata=dict(metadata or {}),
            trace_context=dict(trace or {}),
        )
        if answer["result"]["status"] != "Success":
            return Invocation(answer["result"]["exception"]["message"])
        outputs = {output["name"]: output["data"] for output in answer["output_data"]}
        return Invocation(None, answer.get("return_value"), outputs)

    def stop(self) -> None:
        """End the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()  # type: ignore[union-attr]
