"""Every kind of deployment that the parameters allow is what the code needs; what is spoilt in a template is told."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.infra.conftest import Deployed
from tests.infra.predicted import LEAST, ROOT, predict, run
from tests.infra.rules import of_prod, wrong

MAIL = {
    "smtpHost": "smtp.example.org",
    "smtpUser": "app",
    "smtpPassword": "correct-horse",
    "mailFrom": "ops@example.org",
}
TOKENS = {"authClientId": "55555555-5555-5555-5555-555555555555"}
EVERY = [
    {"kind": kind, "privateNetwork": private, **more}
    for kind, private, more in itertools.product(("dev", "prod"), (False, True), ({}, MAIL | TOKENS))
]


@pytest.mark.parametrize("parameters", EVERY, ids=lambda each: "-".join(map(str, each)) + f"-{each['kind']}")
def test_every_combination_of_parameters_deploys_what_the_code_needs(
    deployed: Deployed, parameters: dict[str, object]
) -> None:
    assert wrong(deployed(**parameters)) == []


ALWAYS = Counter(
    {
        "Microsoft.Authorization/roleAssignments": 9,
        "Microsoft.ContainerRegistry/registries": 1,
        "Microsoft.Devices/IotHubs": 1,
        "Microsoft.Devices/IotHubs/eventHubEndpoints/ConsumerGroups": 1,
        "Microsoft.Insights/components": 1,
        "Microsoft.Insights/diagnosticSettings": 3,
        "Microsoft.KeyVault/vaults": 1,
        "Microsoft.KeyVault/vaults/keys": 1,
        "Microsoft.KeyVault/vaults/secrets": 2,  # of mail: where a password is given, which is not predicted
        "Microsoft.ManagedIdentity/userAssignedIdentities": 1,
        "Microsoft.OperationalInsights/workspaces": 1,
        "Microsoft.Resources/resourceGroups": 1,
        "Microsoft.Sql/servers": 1,
        "Microsoft.Sql/servers/databases": 1,
        "Microsoft.Sql/servers/databases/backupShortTermRetentionPolicies": 1,
        "Microsoft.Storage/storageAccounts": 2,
        "Microsoft.Storage/storageAccounts/blobServices": 1,
        "Microsoft.Storage/storageAccounts/blobServices/containers": 1,
        "Microsoft.Storage/storageAccounts/managementPolicies": 1,
        "Microsoft.Web/serverfarms": 1,
        "Microsoft.Web/sites": 1,
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies": 2,
        "Microsoft.Web/sites/config": 1,
    }
)
OPEN = Counter({"Microsoft.Sql/servers/firewallRules": 1})
NETWORK = Counter(
    {
        "Microsoft.Network/natGateways": 1,
        "Microsoft.Network/privateDnsZones": 6,
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks": 6,
        "Microsoft.Network/privateEndpoints": 7,
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": 7,
        "Microsoft.Network/publicIPAddresses": 1,
        "Microsoft.Network/virtualNetworks": 1,
    }
)


@pytest.mark.parametrize("kind", ["dev", "prod"])
@pytest.mark.parametrize(("private", "more"), [(False, OPEN), (True, NETWORK)])
def test_exactly_these_resources_are_made(deployed: Deployed, kind: str, private: bool, more: Counter[str]) -> None:
    found = deployed(kind=kind, privateNetwork=private)

    assert Counter(each["type"] for each in found.resources) == ALWAYS + more


def test_in_a_network_all_but_what_devices_need_is_closed_to_the_internet(deployed: Deployed) -> None:
    found = deployed(privateNetwork=True, deployerAddress="192.0.2.1")

    public = {
        each["name"][:3]: each["properties"]["publicNetworkAccess"]
        for each in found.resources
        if "publicNetworkAccess" in each.get("properties", {})
    }
    closed, open_ = ("sth", "sql", "kv-"), ("sti", "iot", "cra")
    assert public == dict.fromkeys(closed, "Disabled") | dict.fromkeys(open_, "Enabled")
    assert found.of("Microsoft.Sql/servers/firewallRules") == []
    names = {each["name"] for each in found.of("Microsoft.Network/privateEndpoints")}
    services = ("host-blob", "host-queue", "host-table", "images-blob", "sql", "vault", "registry")
    assert names == {f"pep-{each}" for each in services}
    assert len(found.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")) == len(names)
    app, endpoints = (
        each["properties"] for each in found.one("Microsoft.Network/virtualNetworks")["properties"]["subnets"]
    )
    assert app["delegations"][0]["properties"]["serviceName"] == "Microsoft.App/environments"
    assert app["natGateway"]["id"].endswith(
        found.one("Microsoft.Network/natGateways")["name"]
    )  # mail, the hub, Entra ID
    assert endpoints["privateEndpointNetworkPolicies"] == "Disabled"


def zone_in(stated: object) -> str:
    (zone,) = re.findall(r"privatelink[\w.]+", str(stated))
    return str(zone)


def test_each_private_endpoint_has_the_zone_of_its_service(deployed: Deployed) -> None:
    found = deployed(privateNetwork=True)

    zones = {
        each["name"].split("/")[0].removeprefix("pep-"): zone_in(each["properties"])
        for each in found.of("Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
    }
    assert zones == {
        "host-blob": "privatelink.blob.core.windows.net",
        "host-queue": "privatelink.queue.core.windows.net",
        "host-table": "privatelink.table.core.windows.net",
        "images-blob": "privatelink.blob.core.windows.net",
        "sql": "privatelink.database.windows.net",
        "vault": "privatelink.vaultcore.azure.net",
        "registry": "privatelink.azurecr.io",
    }
    for kind in ("Microsoft.Network/privateDnsZones", "Microsoft.Network/privateDnsZones/virtualNetworkLinks"):
        assert {zone_in(each["name"]) for each in found.of(kind)} == set(zones.values())


@pytest.mark.parametrize(("location", "least"), [("East US", "1.2"), ("westus2", "1.2"), ("westeurope", None)])
def test_a_hub_states_its_least_tls_where_that_is_not_refused(
    deployed: Deployed, location: str, least: str | None
) -> None:
    assert deployed(location=location).one("Microsoft.Devices/IotHubs")["properties"].get("minTlsVersion") == least


def test_the_vault_of_a_fleet_cannot_be_purged_and_that_of_dev_can(deployed: Deployed) -> None:
    def purge_protected(kind: str) -> object:
        found = deployed(kind=kind, privateNetwork=False).one("Microsoft.KeyVault/vaults")
        return found["properties"].get("enablePurgeProtection")

    assert (purge_protected("prod"), purge_protected("dev")) == (True, None)


@pytest.mark.parametrize(
    ("parameters", "admin"),
    [
        ({}, (LEAST["principalId"], "User")),
        ({"principalType": "ServicePrincipal"}, (LEAST["principalId"], "Application")),
        ({"databaseAdminGroupId": "6" * 8}, ("6" * 8, "Group")),
        ({"databaseAdminGroupId": "6" * 8, "principalType": "ServicePrincipal"}, ("6" * 8, "Group")),
    ],
)
def test_the_database_is_administered_by_who_deploys_or_by_a_group(
    deployed: Deployed, parameters: dict[str, object], admin: tuple[str, str]
) -> None:
    stated = deployed(**parameters).one("Microsoft.Sql/servers")["properties"]["administrators"]

    assert (stated["sid"], stated["principalType"]) == admin


def test_a_migration_comes_in_by_its_address_alone(deployed: Deployed) -> None:
    rules = {
        each["name"].rpartition("/")[2]: each["properties"]["startIpAddress"]
        for each in deployed(deployerAddress="192.0.2.1").of("Microsoft.Sql/servers/firewallRules")
    }

    assert rules == {"AllowAllWindowsAzureIps": "0.0.0.0", "deployer": "192.0.2.1"}


def test_tokens_are_asked_for_where_an_app_registration_is_named(deployed: Deployed) -> None:
    settings = deployed(**TOKENS).one("Microsoft.Web/sites/config", "/authsettingsV2")["properties"]

    assert settings["platform"]["enabled"] is True
    assert deployed().of("Microsoft.Web/sites/config")[0]["name"].endswith("/appsettings")
    assert len(deployed().of("Microsoft.Web/sites/config")) == 1


def test_no_password_is_in_what_is_deployed_but_as_a_reference(deployed: Deployed) -> None:
    found = deployed(kind="dev", privateNetwork=False, **MAIL, **TOKENS)

    assert MAIL["smtpPassword"] not in json.dumps([found.resources, found.outputs])


def test_azds_parameters_are_those_of_the_template() -> None:
    done = run("build", ROOT / "infra/main.bicep", "--stdout")
    template = json.loads(done.stdout)["parameters"]
    given = json.loads((ROOT / "infra/main.parameters.json").read_text())["parameters"]

    assert set(given) == set(template)
    needed = {name for name, each in template.items() if "defaultValue" not in each}
    assert needed == set(LEAST)
    assert all(re.fullmatch(r"\$\{[A-Z_]+(=[^}]*)?\}", each["value"]) for each in given.values())


def test_no_module_comes_from_a_registry() -> None:
    used = [
        each
        for file in (ROOT / "infra").rglob("*.bicep")
        for each in re.findall(r"^module \w+ '([^']*)'", file.read_text(), re.M)
    ]

    assert len(used) > 9
    assert [each for each in used if each.startswith(("br", "ts"))] == []


Spoil = tuple[str, str, str, str]
"""File, what stands there, what stands there instead, and a word of the sentence that tells it."""

IN_A_NETWORK: dict[str, object] = {"kind": "prod", "privateNetwork": True}
SPOILT: dict[str, list[Spoil]] = {
    "in a network": [
        ("core/database.bicep", "autoPauseDelay: -1", "autoPauseDelay: 60", "pauses"),
        ("core/database.bicep", "zoneRedundant: true", "zoneRedundant: false", "loss of a zone"),
        ("core/database.bicep", "retentionDays: prod ? 35 : 7", "retentionDays: 1", "kept for 35 days"),
        ("core/endpoint.bicep", "groupIds: [group]", "groupIds: ['blob']", "pep-host-queue leads to another part"),
        ("core/storage.bicep", "hostPublic ? 'Allow' : 'Deny'", "'Allow'", "sth is neither open nor closed"),
        ("core/vault.bicep", "public ? 'Allow' : 'Deny'", "'Allow'", "kv- is neither open nor closed"),
        ("app/api.bicep", "empty(subnetId) ? null : subnetId", "empty(subnetId) ? subnetId : null", "wrong side"),
        ("main.bicep", "sku: privateNetwork ? 'Premium' : prod ?", "sku: prod ?", "no private endpoint"),
        ("main.bicep", "sku: prod ? 'Standard_ZRS' : 'Standard_LRS'", "sku: 'Standard_LRS'", "blobs do not survive"),
    ],
    "modules": [
        ("core/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "has shared keys"),
        ("core/storage.bicep", "roles.queueDataContributor, ", "", "Storage Queue Data Contributor"),
        (
            "core/storage.bicep",
            "roles.blobDataContributor)",
            "roles.blobDataOwner)",
            "Owner on storageAccounts/sti is too",
        ),
        ("core/storage.bicep", "loadJsonContent('../storage-lifecycle.json')", "{ rules: [] }", "lifecycle"),
        ("core/vault.bicep", "[roles.keyVaultCryptoUser, ", "[", "Key Vault Crypto User"),
        ("core/vault.bicep", "category: 'AuditEvent', enabled: true", "category: 'AuditEvent', enabled: false", "logs"),
        ("core/vault.bicep", "enableRbacAuthorization: true", "enableRbacAuthorization: false", "ask for roles"),
        ("core/vault.bicep", "curveName: 'P-256'", "curveName: 'P-384'", "ES256"),
        ("core/monitoring.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false", "from anybody"),
        ("core/registry.bicep", "adminUserEnabled: false", "adminUserEnabled: true", "has a password"),
        ("core/hub.bicep", "sku: { name: 'S1'", "sku: { name: 'B1'", "no twins"),
        ("core/hub.bicep", "isEnabled: false", "isEnabled: true", "what others say"),
        ("core/hub.bicep", "retentionTimeInDays: 7", "retentionTimeInDays: 1", "7 days"),
        ("core/hub.bicep", "rights: 'ServiceConnect'", "rights: 'RegistryWrite'", "more than it must"),
        ("core/hub.bicep", "var group = 'imagedelta'", "var group = 'other'", "consumer group"),
        ("core/hub.bicep", "= \\'imagereconstruction\\''", "= \\'another\\''", "routes"),
        ("core/database.bicep", "OnlyAuthentication: true", "OnlyAuthentication: false", "takes passwords"),
        ("core/database.bicep", "minimalTlsVersion: '1.2'", "minimalTlsVersion: '1.0'", "the database takes old TLS"),
        ("app/api.bicep", "      AZURE_CLIENT_ID: identityClientId\n", "", "which identity"),
        (
            "app/api.bicep",
            "keyVaultReferenceIdentity: identityId",
            "keyVaultReferenceIdentity: 'SystemAssigned'",
            "as somebody",
        ),
        ("app/api.bicep", "instanceMemoryMB: 2048", "instanceMemoryMB: 512", "do not fit"),
        (
            "app/api.bicep",
            "tier: 'FlexConsumption', name: 'FC1'",
            "tier: 'Dynamic', name: 'Y1'",
            "not Flex Consumption",
        ),
        ("app/api.bicep", "kind: 'functionapp,linux'", "kind: 'functionapp'", "of Linux"),
        ("app/api.bicep", "Authorization=AAD", "Authorization=KEY", "telemetry is not sent by identity"),
        ("main.bicep", "string(hub.outputs.units)", "'7'", "for another size"),
        ("main.bicep", "maximumInstances: prod ? 100 : 40", "maximumInstances: 10", "40 to 1,000"),
        ("app/api.bicep", "version: '3.11'", "version: '3.13'", "runtime"),
        ("app/api.bicep", "scmMinTlsVersion: '1.2'", "scmMinTlsVersion: '1.0'", "the app takes old TLS"),
        ("app/api.bicep", "      AzureWebJobsStorage__credential: 'managedidentity'\n", "", "Storage__credential"),
    ],
    "settings that the app starts without": [
        ("main.bicep", "        IMAGEDELTA_STORAGE: storage.outputs.imagesUrl\n", "", "blobs"),
        ("main.bicep", "        IMAGEDELTA_HUB_MAIN_CONSUMER_GROUP: hub.outputs.consumerGroup\n", "", "CONSUMER_GROUP"),
    ],
    "settings that it does not start without": [
        ("main.bicep", "IMAGEDELTA_SEAL_KEYS: vault", "IMAGEDELTA_SEALS: vault", "IMAGEDELTA_SEALS"),
        ("main.bicep", "        IMAGEDELTA_HUB_MAIN_SERVICE: hub.outputs.host\n", "", "HUB_MAIN_SERVICE"),
        ("main.bicep", "        IMAGEDELTA_REGISTRY_MAIN_HOST: registry.outputs.host\n", "", "REGISTRY_MAIN_HOST"),
    ],
}


@pytest.mark.parametrize("group", SPOILT)
def test_what_is_spoilt_in_a_template_is_told(infra: Path, tmp_path: Path, group: str) -> None:
    """Several at once, since a prediction takes seconds: each must be told by a sentence of its own."""
    for file, old, new, _ in SPOILT[group]:
        text = (infra / file).read_text()
        assert old in text, old
        (infra / file).write_text(text.replace(old, new))
    (infra / "bicepconfig.json").unlink()  # an unused output is not what is asked here

    found = predict(infra, tmp_path, **(IN_A_NETWORK if group == "in a network" else {}))
    sentences = [*wrong(found), *(of_prod(found) if group == "in a network" else [])]

    assert [told for *_, told in SPOILT[group] if not any(told in sentence for sentence in sentences)] == []


@pytest.mark.parametrize("private", [False, True])
def test_prod_survives_the_loss_of_a_zone(deployed: Deployed, private: bool) -> None:
    assert of_prod(deployed(kind="prod", privateNetwork=private)) == []


def test_a_deployment_without_a_compiler_fails_and_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "scripts/check-infra"],
        env={"PATH": "/usr/bin:/bin", "BICEP": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "no Bicep compiler" in done.stderr
