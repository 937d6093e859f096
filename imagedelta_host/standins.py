"""Local stand-ins beside the functions: IoT hubs and blobs, and the settings by which an app finds them."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path

from aiohttp import web

from imagedelta_host.blobs.api import BlobApi, sweep_temporary
from imagedelta_host.errors import SettingInvalid
from imagedelta_host.iothub.device_api import DeviceApi
from imagedelta_host.iothub.service_api import POLICY, ServiceApi
from imagedelta_host.iothub.store import HubStore
from imagedelta_host.iothub.stream import EventStream

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?")


class StandIns:
    """The local hubs named by ``LOCAL_IOTHUBS`` and the blob folder of one state folder."""

    def __init__(self, state: Path, url: str, blob_key: str, hub_names: str) -> None:
        """Open both.

        Raises:
            SettingInvalid: ``hub_names`` holds a name that is no hub name.
        """
        self.url = url
        self.hubs = _hub_names(hub_names)
        self.blob_folder = state / "blobs"
        self.blob_folder.mkdir(exist_ok=True, mode=0o700)
        sweep_temporary(self.blob_folder)
        self._blob_key = blob_key
        self._store = HubStore(state / "iothub.sqlite")
        self.stream = EventStream(self._store)

    def set_environment(self, environ: MutableMapping[str, str]) -> None:
        """Tell the app where everything is; what is already set stays."""
        environ.setdefault("LOCAL_HOST_URL", self.url)
        environ.setdefault("LOCAL_BLOBS_DIR", str(self.blob_folder))
        environ.setdefault("LOCAL_BLOBS_URL", f"{self.url}/blobs")
        environ.setdefault("LOCAL_BLOBS_KEY", self._blob_key)
        for hub in self.hubs:
            setting = "LOCAL_IOTHUB_" + re.sub(r"\W", "_", hub).upper()
            environ.setdefault(f"{setting}_SERVICE", self.service_connection(hub))
            environ.setdefault(f"{setting}_EVENTS", f"UseLocalIotHub=true;EntityPath={hub}")

    def service_connection(self, hub: str) -> str:
        """The connection string of a hub's service policy."""
        key = self._store.ensure_hub(hub)
        return f"HostName={self.url}/iothub/{hub};SharedAccessKeyName={POLICY};SharedAccessKey={key}"

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve hubs and blobs."""
        DeviceApi(self._store, self.stream).add_routes(router)
        ServiceApi(self._store).add_routes(router)
        BlobApi(self.blob_folder, self._blob_key, lambda: self.url).add_routes(router)

    def close(self) -> None:
        """Close the databases."""
        self._store.close()


def _hub_names(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not _HUB_NAME.fullmatch(name):
            raise SettingInvalid(f"LOCAL_IOTHUBS holds {name!r}, which is no hub name")
    return frozenset(names)
