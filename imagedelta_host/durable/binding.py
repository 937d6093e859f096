"""The value of a durable client binding: where the SDK's client and people reach the durable HTTP interface.

Source: BindingHelper.DurableOrchestrationClientToString and HttpApiHandler of the durable extension 2.x.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from imagedelta_host.durable.history import compact

WEBHOOK_PATH = "/runtime/webhooks/durabletask"
RPC_PATH = "/durabletask"

_INSTANCE = "INSTANCEID"


@dataclass(frozen=True)
class ClientBinding:
    """Addresses of the durable interface.

    Attributes:
        base_url: Address of the host, without a slash at the end.
        hub: Name of the task hub.
        webhook_key: Opens the webhooks; part of the management URLs.
        rpc_key: Path segment of the SDK's own interface.
    """

    base_url: str
    hub: str
    webhook_key: str
    rpc_key: str

    def management_urls(self, instance: str) -> dict[str, str]:
        """The URLs by which one instance is watched and steered."""
        base = f"{self.base_url}{WEBHOOK_PATH}/instances/{instance}"
        query = f"taskHub={quote(self.hub)}&connection=Storage&code={quote(self.webhook_key)}"
        return {
            "id": instance,
            "statusQueryGetUri": f"{base}?{query}",
            "sendEventPostUri": f"{base}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{base}/terminate?reason={{text}}&{query}",
            "rewindPostUri": f"{base}/rewind?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": f"{base}?{query}",
            "restartPostUri": f"{base}/restart?{query}",
            "suspendPostUri": f"{base}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{base}/resume?reason={{text}}&{query}",
        }

    def value(self) -> str:
        """The binding's value, as JSON text."""
        webhooks = f"{self.base_url}{WEBHOOK_PATH}"
        create = f"{webhooks}/orchestrators/{{functionName}}[/{{instanceId}}]"
        code = f"code={quote(self.webhook_key)}"
        value: dict[str, Any] = {
            "taskHubName": self.hub,
            "connectionName": None,
            "creationUrls": {
                "createNewInstancePostUri": f"{create}?{code}",
                "createAndWaitOnNewInstancePostUri": (
                    f"{create}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&{code}"
                ),
            },
            "managementUrls": self.management_urls(_INSTANCE),
            "baseUrl": webhooks,
            "requiredQueryStringParameters": code,
            "rpcBaseUrl": f"{self.base_url}{RPC_PATH}/{self.rpc_key}/",
            "httpBaseUrl": None,
        }
        return compact(value)
