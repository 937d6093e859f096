"""Local IoT hubs and blob containers as one mount of the embedded host, with the settings that lead an app there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from imagedelta_host.errors import SettingInvalid, StateDamaged
from imagedelta_host.mounts import EventSource, Place
from imagedelta_local.blobs.api import BlobApi
from imagedelta_local.blobs.blocks import sweep_blocks
from imagedelta_local.blobs.receiving import sweep_temporary
from imagedelta_local.iothub.device_api import DeviceApi
from imagedelta_local.iothub.service_api import POLICY, ServiceApi
from imagedelta_local.iothub.store import HubStore
from imagedelta_local.iothub.stream import EventStream, HubEvents

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?")


def open_local(place: Place) -> LocalServices:
    """The hubs that ``LOCAL_IOTHUBS`` names, and the blob folder; a mount for the host.

    Raises:
        SettingInvalid: ``LOCAL_IOTHUBS`` holds a name that is no hub name.
    """
    return LocalServices(place, os.environ.get("LOCAL_IOTHUBS", ""))


class LocalServices:
    """The local hubs and the blob folder of one state folder."""

    connection_form = "UseLocalIotHub=true;EntityPath=<hub>"

    def __init__(self, place: Place, hub_names: str) -> None:
        """Open both.

        Raises:
            SettingInvalid: ``hub_names`` holds a name that is no hub name.
            StateDamaged: The database or the folder of blobs is not what the host left there.
        """
        self._url = place.url
        self.hubs = _hub_names(hub_names)
        self._blob_folder = place.folder / "blobs"
        try:
            self._blob_folder.mkdir(exist_ok=True, mode=0o700)
            sweep_temporary(self._blob_folder)
            sweep_blocks(self._blob_folder)
        except OSError as error:
            raise StateDamaged(f"the folder of local blobs cannot be used: {error}") from error
        self._blob_key = place.key("blobs")
        self._store = HubStore(place.folder / "iothub.sqlite")
        self._stream = EventStream(self._store)

    def settings(self) -> Mapping[str, str]:
        """Addresses and keys of the blobs, a service connection string and an event connection for each hub."""
        found = {
            "LOCAL_HOST_URL": self._url,
            "LOCAL_BLOBS_DIR": str(self._blob_folder),
            "LOCAL_BLOBS_URL": f"{self._url}/blobs",
            "LOCAL_BLOBS_KEY": self._blob_key,
        }
        for hub in self.hubs:
            setting = "LOCAL_IOTHUB_" + re.sub(r"\W", "_", hub).upper()
            found[f"{setting}_SERVICE"] = self._service_connection(hub)
            found[f"{setting}_EVENTS"] = f"UseLocalIotHub=true;EntityPath={hub}"
        return found

    def event_source(self, connection: str) -> EventSource | None:
        """The telemetry of the hub that ``UseLocalIotHub=true;EntityPath=<hub>`` names."""
        pairs = (part.partition("=") for part in connection.split(";"))
        fields = {name.strip().lower(): value for name, _, value in pairs}
        if fields.get("uselocaliothub", "").lower() != "true":
            return None
        hub = fields.get("entitypath", "")
        if hub not in self.hubs:
            known = ", ".join(sorted(self.hubs)) or "none"
            raise SettingInvalid(f"there is no local hub {hub!r}; LOCAL_IOTHUBS has: {known}")
        return HubEvents(self._stream, hub)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Serve hubs and blobs."""
        DeviceApi(self._store, self._stream).add_routes(router)
        ServiceApi(self._store).add_routes(router)
        BlobApi(self._blob_folder, self._blob_key, self._url).add_routes(router)

    def describe(self) -> Mapping[str, Any]:
        """Service connection string of each hub, for whoever registers devices there."""
        return {"hubs": {hub: self._service_connection(hub) for hub in sorted(self.hubs)}}

    def _service_connection(self, hub: str) -> str:
        key = self._store.ensure_hub(hub)
        return f"HostName={self._url}/iothub/{hub};SharedAccessKeyName={POLICY};SharedAccessKey={key}"

    def close(self) -> None:
        """Close the database."""
        self._store.close()


def _hub_names(text: str) -> frozenset[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not _HUB_NAME.fullmatch(name):
            raise SettingInvalid(f"LOCAL_IOTHUBS holds {name!r}, which is no hub name")
    return frozenset(names)
