"""What is asked of Azure DevOps itself: its list of runs, and people who approve.

Source: learn.microsoft.com, REST API of Azure DevOps, "Builds - List" 7.1.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "the-token-of-the-run"


@dataclass
class FinishedRun:
    definition: str
    branch: str
    commit: str
    result: str
    tags: list[str] = field(default_factory=list)


class BuildsApi:
    """A context manager. Runs are in the order in which they were queued."""

    def __init__(self) -> None:
        self.runs: list[FinishedRun] = []
        self.approve: Callable[[str], bool] = lambda environment: True
        self.down = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="builds API", daemon=True)

    def __enter__(self) -> BuildsApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """As ``System.CollectionUri`` ends with a slash."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def answer(self, path: str, token: str | None) -> tuple[int, Any]:
        if self.down:
            return 503, {}
        if token != f"Bearer {TOKEN}":
            return 401, {}
        parts = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path != "/fleet/_apis/build/builds" or asked.pop("api-version", "") != "7.1":
            return 404, {}
        order, status, top = asked.pop("queryOrder"), asked.pop("statusFilter"), int(asked.pop("$top"))
        assert (order, status) == ("queueTimeDescending", "completed")
        found = [run for run in reversed(self.runs) if _fits(run, **asked)]
        return 200, {"value": [{"sourceVersion": run.commit} for run in found[:top]]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = api.answer(self.path, self.headers.get("Authorization"))
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _fits(run: FinishedRun, *, definitions: str, branchName: str, tagFilters: str, resultFilter: str) -> bool:  # noqa: N803
    """By the names of the query; another one is a mistake."""
    well = {"succeeded": ("Succeeded",)}[resultFilter]
    return run.definition == definitions and run.branch == branchName and tagFilters in run.tags and run.result in well
