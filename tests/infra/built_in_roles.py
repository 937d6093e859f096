"""Built-in roles of Azure by id, with the rights of theirs that matter here; the given ones and those beside them.

Source: MicrosoftDocs/azure-docs, articles/role-based-access-control/built-in-roles.md (of 2026-04-09, commit 00a58329)
for names and ids, built-in-roles/{storage,security,internet-of-things,containers,monitor}.md for rights (commits
1b4e136a, 03e5750a, 03adcc30, 0088bfa7, 03e5750a). The ids of those that are given stand as well in templates of others,
under the same names: seen for each on 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

BLOBS = "Microsoft.Storage/storageAccounts/blobServices/"
QUEUES = "Microsoft.Storage/storageAccounts/queueServices/"
TABLES = "Microsoft.Storage/storageAccounts/tableServices/"
HUB = "Microsoft.Devices/IotHubs/"
VAULT = "Microsoft.KeyVault/vaults/"
REGISTRY = "Microsoft.ContainerRegistry/registries/"
INSIGHTS = "Microsoft.Insights/"


@dataclass(frozen=True)
class Role:
    id: str
    rights: tuple[str, ...]
    """Actions and data actions, with ``*``; without those that only let a portal show things."""

    def has(self, right: str) -> bool:
        return any(fnmatchcase(right.lower(), each.lower()) for each in self.rights)

    def has_all(self, rights: Iterable[str]) -> bool:
        return all(map(self.has, rights))


def _role(id: str, at: str, *rights: str) -> Role:
    return Role(id, tuple(at + each for each in rights))


CONTAINERS = ("containers/delete", "containers/read", "containers/write")
_OF_BLOBS = ("delete", "read", "write", "move/action", "add/action")
_OF_MESSAGES = ("delete", "read", "write", "process/action")

ROLES: Mapping[str, Role] = {
    "AcrPull": _role("7f951dda-4ed3-4680-a7ca-43fe172d538d", REGISTRY, "pull/read"),
    "AcrPush": _role("8311e382-0749-4cb8-b61a-304f252e45ec", REGISTRY, "pull/read", "push/write"),
    "Storage Blob Data Owner": _role(
        "b7e6dc6d-f1e8-4753-8033-0f276bb0955b", BLOBS, "containers/*", "generateUserDelegationKey/action"
    ),
    "Storage Blob Data Contributor": _role(
        "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        BLOBS,
        *CONTAINERS,
        "generateUserDelegationKey/action",
        *(f"containers/blobs/{each}" for each in _OF_BLOBS),
    ),
    "Storage Blob Data Reader": _role(
        "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
        BLOBS,
        "containers/read",
        "generateUserDelegationKey/action",
        "containers/blobs/read",
    ),
    "Storage Blob Delegator": _role("db58b8e5-c6ad-4a2a-8342-4190687cbf4a", BLOBS, "generateUserDelegationKey/action"),
    "Storage Queue Data Contributor": _role(
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        QUEUES,
        *("queues/delete", "queues/read", "queues/write"),
        *(f"queues/messages/{each}" for each in _OF_MESSAGES),
    ),
    "Storage Queue Data Message Processor": _role(
        "8a0f0c08-91a1-4084-bc3d-661d67233fed", QUEUES, "queues/messages/read", "queues/messages/process/action"
    ),
    "Storage Table Data Contributor": _role(
        "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
        TABLES,
        *("tables/read", "tables/write", "tables/delete"),
        *(f"tables/entities/{each}" for each in ("read", "write", "delete", "add/action", "update/action")),
    ),
    "Storage Table Data Reader": _role(
        "76199698-9eea-4c19-bc75-cec21354c6b6", TABLES, "tables/read", "tables/entities/read"
    ),
    "IoT Hub Data Contributor": _role("4fc6c259-987e-4a07-842e-c321cc9d413f", HUB, "*"),
    "IoT Hub Data Reader": _role(
        "b447c946-2db7-41ec-983d-d8bf3b1c77e3", HUB, "*/read", "fileUpload/notifications/action"
    ),
    "IoT Hub Registry Contributor": _role("4ea46cd5-c1b2-4a8e-910b-273211f9ce47", HUB, "devices/*"),
    "IoT Hub Twin Contributor": _role("494bdba2-168f-4f31-a0a1-191d2f7c028c", HUB, "twins/*"),
    "Key Vault Crypto User": _role(
        "12338af0-0e69-4776-bea7-57ae8d297424",
        VAULT,
        "keys/read",
        *(
            f"keys/{each}/action"
            for each in ("update", "backup", "encrypt", "decrypt", "wrap", "unwrap", "sign", "verify")
        ),
    ),
    "Key Vault Reader": _role("21090545-7ca7-4776-b22c-e363652d74d2", VAULT, "*/read", "secrets/readMetadata/action"),
    "Key Vault Secrets User": _role(
        "4633458b-17de-408a-b874-0445c86b69e6", VAULT, "secrets/getSecret/action", "secrets/readMetadata/action"
    ),
    "Monitoring Metrics Publisher": _role(
        "3913510d-42f4-4e42-8a64-420c390055eb", INSIGHTS, "Metrics/Write", "Telemetry/Write"
    ),
}
