"""One embedded host that serves the function app, and Microsoft's worker with the same app, settings and state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from imagedelta_host.durable.binding import ClientBinding
from tests.e2e.host_process import HostProcess, HubClient
from tests.worker.azure_worker import ROOT, AzureWorker
from tests.worker.functions_host import Call, HttpAnswer, call_worker

HUBS = ("north", "south")


@dataclass
class Both:
    """The embedded host and the worker, side by side on one database, one blob folder and one task hub."""

    host: HostProcess
    worker: AzureWorker
    client: str
    """The value of a durable client binding: the worker's clients reach the embedded host's task hub."""
    settings: dict[str, str]
    """Of the worker."""

    def answers(self, call: Call) -> tuple[HttpAnswer, HttpAnswer]:
        """The same request to both: (the worker's answer, the embedded host's)."""
        with httpx.Client(timeout=60) as web:
            served = HttpAnswer.of(web.send(self._request(call)))
        return self.by_worker(call), served

    def by_worker(self, call: Call) -> HttpAnswer:
        """The answer of the worker, which alone is asked."""
        return call_worker(self.worker, call, self._request(call), self.client)

    def _request(self, call: Call) -> httpx.Request:
        headers = {"x-functions-key": self.host.endpoint()["key"], **call.headers}
        return httpx.Client().build_request(call.method, self.host.url + call.path, headers=headers, content=call.body)

    def hub(self, name: str) -> HubClient:
        connection = self.host.endpoint()["hubs"][name]
        return HubClient(self.host, name, connection.rpartition("SharedAccessKey=")[2])


def settings_for_the_worker(host: HostProcess, keys: dict[str, str]) -> dict[str, str]:
    """What the embedded host tells the app it serves, and what the tests told the host."""
    endpoint = host.endpoint()
    settings = {
        **host.environment,
        "LOCAL_HOST_URL": host.url,
        "LOCAL_BLOBS_DIR": str(host.state / "blobs"),
        "LOCAL_BLOBS_URL": f"{host.url}/blobs",
        "LOCAL_BLOBS_KEY": keys["blobs"],
    }
    for hub in HUBS:
        settings[f"LOCAL_IOTHUB_{hub.upper()}_SERVICE"] = endpoint["hubs"][hub]
        settings[f"LOCAL_IOTHUB_{hub.upper()}_EVENTS"] = f"UseLocalIotHub=true;EntityPath={hub}"
    return settings


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    never = "0 0 0 1 1 *"
    host = HostProcess(folder / "state", ROOT, LOCAL_IOTHUBS=",".join(HUBS), TIMER_SCHEDULE=never).start()
    try:
        keys = json.loads((host.state / "keys.json").read_text())
        settings = settings_for_the_worker(host, keys)
        worker = AzureWorker(ROOT, **settings)
        yield Both(host, worker, ClientBinding(host.url, _task_hub(), keys["durable"], keys["rpc"]).value(), settings)
        worker.stop()
    finally:
        host.stop()


def _task_hub() -> str:
    name: str = json.loads((ROOT / "host.json").read_text())["extensions"]["durableTask"]["hubName"]
    return name


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    return folder
