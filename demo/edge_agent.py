"""A stand-in for IoT Edge's edgeAgent on one device: takes the manifest from the hub, reports what runs.

Nothing is really started. A module counts as running when its image lies in the device's own store, which is
where the real edgeAgent would pull it from; otherwise it is reported as failed to pull.
Source: IoT Edge, properties of the IoT Edge agent and hub module twins (reported properties).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import httpx

from edge_module.sas_token import connection_from_text

_TOKEN_SECONDS = 3600
_SYSTEM_MODULES = ("edgeAgent", "edgeHub")


class EdgeAgent:
    """Polls from a thread of its own. A context manager."""

    def __init__(
        self,
        connection: str,
        has_image: Callable[[str], bool],
        now: Callable[[], float],
        *,
        proxy: str | None = None,
        poll_seconds: float = 2.0,
    ) -> None:
        """Args:
        connection: Connection string of the module $edgeAgent.
        has_image: Whether the device's store holds an image as a manifest names it.
        now: Seconds since 1970.
        proxy: URL of the link the device is behind.
        """
        self._connection = connection_from_text(connection)
        self._has_image = has_image
        self._now = now
        self._client = httpx.Client(timeout=20, trust_env=False, proxy=proxy)
        self._poll_seconds = poll_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"edgeAgent {self._connection.device_id}", daemon=True)
        self._reported: dict[str, Any] | None = None

    def __enter__(self) -> EdgeAgent:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            try:
                self.step()
            except httpx.HTTPError:
                continue  # the link is down or the hub is: the next poll tries again

    def step(self) -> None:
        """Look at the desired properties once; report when there is news.

        Raises: httpx.HTTPError when the hub does not answer.
        """
        desired = self._call("GET", "/twin").json()["desired"]
        if "modules" not in desired:
            return
        report = reported_properties(desired, self._has_image)
        if report != self._reported:
            self._call("PATCH", "/twin/properties/reported", report)
            self._reported = report

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        url = f"{self._connection.base_url}{self._connection.module_path}{path}"
        token = self._connection.token(int(self._now()) + _TOKEN_SECONDS)
        answer = self._client.request(method, url, headers={"authorization": token}, json=body)
        return answer.raise_for_status()


def reported_properties(desired: Mapping[str, Any], has_image: Callable[[str], bool]) -> dict[str, Any]:
    """What edgeAgent reports of a deployment. System modules always run: they came with the device."""
    modules = {name: _module(module, has_image) for name, module in desired["modules"].items()}
    failed = [name for name, module in modules.items() if module["runtimeStatus"] != "running"]
    status = {"code": 500, "description": f"cannot pull: {', '.join(failed)}"} if failed else {"code": 200}
    system = desired.get("systemModules", {})
    return {
        "schemaVersion": desired.get("schemaVersion", "1.1"),
        "lastDesiredVersion": desired["$version"],
        "lastDesiredStatus": status,
        "modules": modules,
        "systemModules": {name: _module(system[name], lambda _: True) for name in _SYSTEM_MODULES if name in system},
    }


def _module(module: Mapping[str, Any], has_image: Callable[[str], bool]) -> dict[str, Any]:
    image = module["settings"]["image"]
    running = has_image(image)
    return {
        "type": module.get("type", "docker"),
        "status": module.get("status", "running"),
        "restartPolicy": module.get("restartPolicy", "always"),
        "runtimeStatus": "running" if running else "backoff",
        "exitCode": 0,
        "statusDescription": "" if running else f"no such image: {image}",
        "settings": {"image": image, "createOptions": module["settings"].get("createOptions", "{}")},
    }
