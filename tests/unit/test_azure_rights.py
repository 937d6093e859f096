"""The roles that infra/ gives are what the adapters' calls need, and no narrower built-in role would do.

NEEDED in tests/infra/rules.py says which role is given where; that the templates give exactly those is tested by
`make check-infra`. Here: from each call of an adapter to the right that Azure asks for it, to a role that has it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient

from services.hubs.calls import HubCalls
from tests.infra.built_in_roles import BLOBS, CONTAINERS, HUB, INSIGHTS, QUEUES, REGISTRY, ROLES, TABLES, VAULT
from tests.infra.rules import NEEDED

ROOT = Path(__file__).parents[2]

# Source: learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory, "Permissions for calling
# data operations".
OF_BLOBS = {
    "upload_blob": "containers/blobs/write",
    "stage_block": "containers/blobs/write",
    "stage_block_from_url": "containers/blobs/write",  # what is read is opened by a SAS
    "commit_block_list": "containers/blobs/write",
    "get_block_list": "containers/blobs/read",
    "download_blob": "containers/blobs/read",
    "get_blob_properties": "containers/blobs/read",
    "list_blobs": "containers/blobs/read",
    "delete_blob": "containers/blobs/delete",
    "create_container": "containers/write",
    "delete_container": "containers/delete",
    "get_user_delegation_key": "generateUserDelegationKey/action",
}
BY_KEY_ALONE = {"get_container_access_policy", "set_container_access_policy"}
"""Of ``KeyGrants`` (services/blobs/azure_grants.py), which an account with a key has and this one has not."""
ASK_NOBODY = {"get_blob_client", "get_container_client", "url", "close", "key_id"}

# Source: MicrosoftDocs/azure-docs, articles/iot-hub/authenticate-authorize-azure-ad.md, "Permissions for IoT Hub
# service APIs" (2025-03-28, commit 03e5750a); a query of twins (Get Twins) needs twins/read.
OF_HUBS = {
    "module_twin": "twins/read",
    "patch_desired": "twins/write",
    "device_twin": "twins/read",
    "patch_tags": "twins/write",
    "query": "twins/read",
    "apply": "configurations/applyToEdgeDevice/action",
    "configurations": "configurations/read",
    "configuration": "configurations/read",
    "create_configuration": "configurations/write",
    "delete_configuration": "configurations/delete",
}

# Source: MicrosoftDocs/azure-docs, articles/role-based-access-control/built-in-roles/security.md.
OF_VAULTS = {"get_key": "keys/read", "sign": "keys/sign/action"}

RIGHTS: Mapping[str, set[str]] = {
    # Documented by roles: MicrosoftDocs/azure-docs, includes/functions-azurewebjobsstorage-permissions.md (commit
    # 19d2e838): the host alone needs Storage Blob Data Owner, Durable Functions queues and tables beside blobs.
    "storageAccounts/sth": {BLOBS + "containers/*"}
    | {QUEUES + "queues/write", QUEUES + "queues/messages/write", QUEUES + "queues/messages/process/action"}
    | {TABLES + "tables/write", TABLES + "tables/entities/write"},
    "storageAccounts/sti": {BLOBS + each for each in OF_BLOBS.values()},
    "IotHubs/iot": {HUB + each for each in OF_HUBS.values()},
    "registries/cr": {REGISTRY + "pull/read"},  # services/registries: manifests and blobs
    "vaults/kv": {VAULT + each for each in OF_VAULTS.values()}
    | {VAULT + "secrets/getSecret/action"},  # references in settings
    "components/appi": {INSIGHTS + "Metrics/Write", INSIGHTS + "Telemetry/Write"},
}


def named(file: str) -> set[str]:
    """Every attribute that a file's code names."""
    return {each.attr for each in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(each, ast.Attribute)}


def public(*kinds: type) -> set[str]:
    return {name for kind in kinds for name in vars(kind) if not name.startswith("_")}


def given(scope: str) -> Iterator[str]:
    return (role for at, role in NEEDED if at == scope)


def test_every_call_of_blobs_has_its_right() -> None:
    calls = named("services/blobs/azure_account.py") & public(BlobClient, ContainerClient, BlobServiceClient)

    assert calls - ASK_NOBODY == set(OF_BLOBS) | BY_KEY_ALONE


def test_every_call_of_a_hub_has_its_right() -> None:
    assert public(HubCalls) - {"name"} == set(OF_HUBS)


def test_every_call_of_a_vault_has_its_right() -> None:
    calls = named("services/seals/keyvault.py") & public(KeyClient, CryptographyClient)

    assert calls - ASK_NOBODY == set(OF_VAULTS)


def test_only_these_files_speak_to_azure_as_the_app() -> None:
    """Whoever adds another comes by here."""
    speak = {
        str(file.relative_to(ROOT))
        for room in ("services", "store", "triggers", "activities", "imagedelta_registry")
        for file in (ROOT / room).rglob("*.py")
        if re.search(r"^\s*(from|import) azure\.(?!core|durable_functions|functions)", file.read_text(), re.M)
    }

    assert speak == {
        "services/blobs/azure_account.py",
        "services/hubs/sdk.py",
        "services/identity.py",
        "services/seals/keyvault.py",
        "services/watching/otel.py",
    }


@pytest.mark.parametrize("scope", RIGHTS)
def test_what_is_given_at_a_resource_is_enough(scope: str) -> None:
    assert {right for right in RIGHTS[scope] if not any(ROLES[role].has(right) for role in given(scope))} == set()


@pytest.mark.parametrize(("scope", "role"), NEEDED)
def test_without_a_role_something_would_fail(scope: str, role: str) -> None:
    rest = [each for each in given(scope) if each != role]

    assert [right for right in RIGHTS[scope] if not any(ROLES[each].has(right) for each in rest)]


@pytest.mark.parametrize(("scope", "role"), NEEDED)
def test_no_narrower_role_would_do(scope: str, role: str) -> None:
    """Narrower: all that it may, the given one may, too."""
    needs = {right for right in RIGHTS[scope] if ROLES[role].has(right)}
    narrower = {name for name, each in ROLES.items() if name != role and ROLES[role].has_all(each.rights)}

    assert {name for name in narrower if ROLES[name].has_all(needs)} == set()


def test_the_templates_know_these_roles_by_their_ids() -> None:
    stated = re.findall(r"^  \w+: '([0-9a-f-]{36})'$", (ROOT / "infra/core/roles.bicep").read_text(), re.M)

    assert sorted(stated) == sorted(ROLES[role].id for _, role in NEEDED)


def test_a_blob_contributor_may_not_open_containers_to_others() -> None:
    """So an app that is taken over cannot, either."""
    contributor = ROLES["Storage Blob Data Contributor"]

    assert all(contributor.has(BLOBS + each) for each in CONTAINERS)
    assert not contributor.has(BLOBS + "containers/setAcl/action")
