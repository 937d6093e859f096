"""A local hub of the embedded host, served from a thread of the test: its REST interface without a process."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from imagedelta_local.iothub.documents import device_twin
from imagedelta_local.iothub.service_api import POLICY, ServiceApi
from imagedelta_local.iothub.store import HubStore, Identity
from imagedelta_local.iothub.twins import merge


class Served:
    """An aiohttp application behind a port of this machine, until it is closed."""

    def __init__(self, app: web.Application, tls: ssl.SSLContext | None = None) -> None:
        self.loop = asyncio.new_event_loop()
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        self.loop.run_until_complete(self._runner.setup())
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        self.loop.run_until_complete(site.start())
        self.port: int = self._runner.addresses[0][1]
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _end(self) -> None:
        await self._runner.cleanup()
        await asyncio.sleep(0.3)  # connections over TLS, whose other end was killed, are closed in the turns after it


class LocalHubs:
    """The store of local hubs, and one hub of it."""

    NAME = "north"

    def __init__(self, folder: Path) -> None:
        self.store = HubStore(folder / "iothub.sqlite")
        self.key = self.store.ensure_hub(self.NAME)
        app = web.Application()
        ServiceApi(self.store).add_routes(app.router)
        self._served = Served(app)
        self.url = f"http://127.0.0.1:{self._served.port}/iothub/{self.NAME}"
        self.connection = f"HostName={self.url};SharedAccessKeyName={POLICY};SharedAccessKey={self.key}"

    def close(self) -> None:
        self._served.close()
        self.store.close()

    # What a test arranges, in the loop's thread: the store is used by one thread alone.

    def add_device(self, device_id: str, modules_content: Mapping[str, Any], *others: str) -> None:
        parts = {name: dict(part["properties.desired"]) for name, part in modules_content.items()}
        named = [*parts, *parts.get("$edgeAgent", {}).get("modules", {}), *others]
        self._do(lambda: self._add(device_id, dict.fromkeys(named), parts))

    def tag(self, device_id: str, tags: Mapping[str, Any]) -> None:
        def change() -> None:
            device = self._identity(device_id)
            device.tags = merge(device.tags, dict(tags))
            device.touch()
            self._put(device)

        self._do(change)

    def report(self, device_id: str, module_id: str, reported: Mapping[str, Any]) -> None:
        def change() -> None:
            module = self._identity(device_id, module_id)
            module.change_reported(dict(reported), dict(reported))
            self._put(module)

        self._do(change)

    def remove_device(self, device_id: str) -> None:
        def change() -> None:
            with self.store.transaction():
                self.store.delete_device(self.NAME, device_id)

        self._do(change)

    def reported(self, device_id: str, module_id: str) -> Mapping[str, Any]:
        found: list[Mapping[str, Any]] = []
        self._do(lambda: found.append(device_twin(self._identity(device_id, module_id))["reported"]))
        return found[0]

    def _add(self, device_id: str, named: Mapping[str, None], parts: Mapping[str, dict[str, Any]]) -> None:
        with self.store.transaction():
            self.store.put(Identity.new(self.NAME, device_id, edge=True))
            for name in named:
                module = Identity.new(self.NAME, device_id, name, edge=True)
                module.desired = parts.get(name, {})
                self.store.put(module)

    def _identity(self, device_id: str, module_id: str = "") -> Identity:
        found = self.store.identity(self.NAME, device_id, module_id)
        assert found is not None
        return found

    def _put(self, identity: Identity) -> None:
        with self.store.transaction():
            self.store.put(identity)

    def _do(self, change: Any) -> None:
        async def run() -> None:
            change()

        asyncio.run_coroutine_threadsafe(run(), self._served.loop).result(10)
