"""What must hold of a deployment, whatever its parameters: each rule returns what is wrong."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from services.settings import Settings, load_settings
from services.watching.settings import JSON
from tests.infra.built_in_roles import ROLES
from tests.infra.predicted import ROOT, TENANT, Predicted

PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
HOSTS = {"AzureWebJobsStorage__accountName", "AzureWebJobsStorage__clientId", "AzureWebJobsStorage__credential"}
"""Of the Functions host alone, which lets itself into its storage by the app's identity."""

NEEDED = Counter(
    {
        ("storageAccounts/sth", "Storage Blob Data Owner"): 1,  # the host: leases, keys, checkpoints of event hubs
        ("storageAccounts/sth", "Storage Queue Data Contributor"): 1,  # Durable's queues
        ("storageAccounts/sth", "Storage Table Data Contributor"): 1,  # Durable's histories
        ("storageAccounts/sti", "Storage Blob Data Contributor"): 1,  # services/blobs; delegation keys, too
        ("IotHubs/iot", "IoT Hub Data Contributor"): 1,  # services/hubs: twins, queries, configurations
        ("registries/cr", "AcrPull"): 1,  # imagedelta_registry
        ("vaults/kv", "Key Vault Crypto User"): 1,  # services/seals/keyvault.py: get, sign
        ("vaults/kv", "Key Vault Secrets User"): 1,  # references in settings
        ("components/appi", "Monitoring Metrics Publisher"): 1,  # services/watching/otel.py
    }
)

GIVEN = {
    "connectionString": "InstrumentationKey=0;IngestionEndpoint=https://westeurope.in.applicationinsights.azure.com/",
    "clientId": "44444444-4444-4444-4444-444444444444",
    "consumerGroup": "imagedelta",
    "events": "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=events;SharedAccessKey=a2V5;EntityPath=x",
    "eventsName": "iothub-ehub-x",
    "host": "x.azure-devices.net",
    "hostName": "sthx",
    "imagesUrl": "https://stix.blob.core.windows.net",
    "sealKey": "https://kv-x.vault.azure.net/keys/seal/" + "0" * 32,
    "smtpPassword": "secret",
    "units": "1",
    "url": "mssql+pyodbc://sql-x.database.windows.net/imagedelta",
}
"""What Azure gives out, by the name of the output that an app setting takes it from."""


def app_settings(found: Predicted) -> dict[str, str]:
    """As the app sees them."""
    stated = found.one("Microsoft.Web/sites/config", "/appsettings")["properties"]
    return {name: _resolved(str(value)) for name, value in stated.items()}


def _resolved(value: str) -> str:
    output = re.search(r"\.outputs\.(\w+)\.value", value)
    if output is None:
        return value
    given = GIVEN[output[1]]
    form = re.match(r"\[format\('([^']*)'", value)
    return form[1].replace("{0}", given) if form else given


def roles(found: Predicted) -> Counter[tuple[str, str]]:
    """(resource, role), each as often as it is given."""
    names = {role.id: name for name, role in ROLES.items()}
    given: Counter[tuple[str, str]] = Counter()
    for each in found.of("Microsoft.Authorization/roleAssignments"):
        scope = "/".join(each["id"].partition("/providers/Microsoft.Authorization")[0].split("/")[-2:])
        role = each["properties"]["roleDefinitionId"].rpartition("/")[2]
        known = next((start for start, _ in NEEDED if scope.startswith(start)), scope)
        given[known, names.get(role, role)] += 1
    return given


def wrong(found: Predicted) -> list[str]:
    """Every rule at once: sentences, none for a deployment that is right."""
    parts = (_settings, _roles, _storage, _database, _hub, _app, _plan, _vault, _keys, _network, _tls, _diagnostics)
    return [sentence for part in parts for sentence in part(found)]


def _settings(found: Predicted) -> Iterator[str]:
    stated = app_settings(found)
    for name in sorted(set(stated) - HOSTS):
        if (
            f"`{name.replace('_HUB_MAIN_', '_HUB_<NAME>_').replace('_REGISTRY_MAIN_', '_REGISTRY_<NAME>_')}`"
            not in PAGE
        ):
            yield f"{name} is no setting"
    yield from (f"{name} is not set" for name in HOSTS - set(stated))
    if stated.get("AzureWebJobsStorage__credential") != "managedidentity":
        yield "the host's storage is not by identity"
    try:
        yield from _of(load_settings({**stated, "WEBSITE_INSTANCE_ID": "1"}))
    except Exception as error:
        yield f"the app does not start: {error}"
    for name in ("EVENTS", "EVENTS_NAME", "CONSUMER_GROUP"):
        if not stated.get(f"IMAGEDELTA_HUB_MAIN_{name}"):
            yield f"no {name} of the hub"
    if stated.get("AZURE_CLIENT_ID") != GIVEN["clientId"]:
        yield "the app does not know which identity it is"


def _of(settings: Settings) -> Iterator[str]:
    if settings.storage is None or settings.storage.key is not None:
        yield "blobs are not by identity"
    if not (settings.database_url or "").startswith("mssql+pyodbc://"):
        yield "the database is not Azure SQL"
    if settings.seals.keys != (GIVEN["sealKey"],):
        yield "bundles are not sealed by the vault's key"
    if [hub.connection.key for hub in settings.hubs.values()] != [None]:
        yield "the hub is not asked by identity"
    if not (settings.telemetry.application_insights and settings.telemetry.by_identity):
        yield "telemetry is not sent by identity"
    if settings.telemetry.log_format != JSON:
        yield "logs are for people"
    if not settings.intake.registries:
        yield "images of no registry are taken"


def _roles(found: Predicted) -> Iterator[str]:
    given = roles(found)
    yield from (f"role {role} on {scope} is missing" for scope, role in (NEEDED - given))
    yield from (f"role {role} on {scope} is too much" for scope, role in (given - NEEDED))


def _storage(found: Predicted) -> Iterator[str]:
    for each in found.of("Microsoft.Storage/storageAccounts"):
        has = each["properties"]
        if has.get("allowSharedKeyAccess") is not False:
            yield f"{each['name']} has shared keys"
        if has.get("allowBlobPublicAccess") is not False or has.get("minimumTlsVersion") != "TLS1_2":
            yield f"{each['name']} is open"
    stated = found.one("Microsoft.Storage/storageAccounts/managementPolicies")
    if stated["properties"]["policy"] != json.loads((ROOT / "infra/storage-lifecycle.json").read_text()):
        yield "lifecycle rules are others"
    if not stated["name"].startswith("sti"):
        yield "lifecycle rules are on the host's account"


def _database(found: Predicted) -> Iterator[str]:
    admins = found.one("Microsoft.Sql/servers")["properties"]["administrators"]
    if admins.get("azureADOnlyAuthentication") is not True or admins.get("tenantId") != TENANT:
        yield "the database takes passwords"
    for rule in found.of("Microsoft.Sql/servers/firewallRules"):
        if rule["properties"]["startIpAddress"] != rule["properties"]["endIpAddress"]:
            yield "a firewall rule is a range"


def _hub(found: Predicted) -> Iterator[str]:
    hub = found.one("Microsoft.Devices/IotHubs")["properties"]
    if hub["eventHubEndpoints"]["events"]["retentionTimeInDays"] != 7:
        yield "messages are not kept for 7 days"
    routing = hub["routing"]
    routes = {each["name"]: (each["source"], each["condition"]) for each in routing["routes"] if each["isEnabled"]}
    if routes != {"imagedelta": ("DeviceMessages", "$connectionModuleId = 'imagereconstruction'")}:
        yield "the hub routes otherwise"
    if routing["fallbackRoute"]["isEnabled"]:
        yield "the hub sends what others say, too"
    sku = found.one("Microsoft.Devices/IotHubs")["sku"]
    if not sku["name"].startswith("S"):
        yield "the hub has no twins"  # the basic tier
    if app_settings(found).get("IMAGEDELTA_HUB_MAIN_UNITS") != str(sku["capacity"]):
        yield "the app takes the hub for another size"
    if [each["rights"] for each in hub["authorizationPolicies"]] != ["ServiceConnect"]:
        yield "a key of the hub may do more than it must"
    group = found.one("Microsoft.Devices/IotHubs/eventHubEndpoints/ConsumerGroups")["name"]
    if not group.endswith(f"/events/{GIVEN['consumerGroup']}"):
        yield "the consumer group is another"


def _app(found: Predicted) -> Iterator[str]:
    site = found.one("Microsoft.Web/sites")
    config = site["properties"]["functionAppConfig"]
    if config["runtime"] != {"name": "python", "version": "3.11"}:
        yield "the runtime is not the one that packages are built on"
    if config["deployment"]["storage"]["authentication"]["type"] != "UserAssignedIdentity":
        yield "the package is not read by identity"
    if not 40 <= config["scaleAndConcurrency"]["maximumInstanceCount"] <= 1000:
        yield "Flex Consumption takes 40 to 1,000 instances"
    if not site["properties"]["httpsOnly"] or site["tags"].get("azd-service-name") != "api":
        yield "azd does not find the app, or it speaks http"
    passwords = found.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    if [each["properties"]["allow"] for each in passwords] != [False, False]:
        yield "the app can be published to by a password"


def _plan(found: Predicted) -> Iterator[str]:
    plan, site = found.one("Microsoft.Web/serverfarms"), found.one("Microsoft.Web/sites")
    if plan["sku"] != {"tier": "FlexConsumption", "name": "FC1"} or plan["properties"].get("reserved") is not True:
        yield "the plan is not Flex Consumption"
    if site["kind"] != "functionapp,linux":
        yield "the app is not one of Linux"
    if site["properties"]["functionAppConfig"]["scaleAndConcurrency"]["instanceMemoryMB"] not in (2048, 4096):
        yield "builds do not fit an instance"
    (identity,) = site["identity"]["userAssignedIdentities"]
    by = str(site["properties"].get("keyVaultReferenceIdentity")).strip("[]")
    if "identity" not in by or by not in identity:  # the same expression, as a name of a property
        yield "references to the vault are read as somebody else"


def _vault(found: Predicted) -> Iterator[str]:
    if found.one("Microsoft.KeyVault/vaults")["properties"].get("enableRbacAuthorization") is not True:
        yield "the vault does not ask for roles"
    key = found.one("Microsoft.KeyVault/vaults/keys")["properties"]
    if (key["kty"], key.get("curveName"), set(key["keyOps"])) != ("EC", "P-256", {"sign", "verify"}):
        yield "the key does not seal by ES256"


def _keys(found: Predicted) -> Iterator[str]:
    """What has a way in beside Entra ID that could be shut."""
    if found.one("Microsoft.Insights/components")["properties"].get("DisableLocalAuth") is not True:
        yield "telemetry is taken from anybody"
    if found.one("Microsoft.ContainerRegistry/registries")["properties"].get("adminUserEnabled") is not False:
        yield "the registry has a password"


def _network(found: Predicted) -> Iterator[str]:
    inside = bool(found.of("Microsoft.Network/virtualNetworks"))
    subnet = str(found.one("Microsoft.Web/sites")["properties"].get("virtualNetworkSubnetId") or "")
    # Where the subnet is not known before it is made, a prediction leaves: if it is empty, none, else the subnet.
    if bool(subnet) != inside or (inside and not re.search(r"appSubnetId\.value\), null\(\), ", subnet)):
        yield "the app is on the wrong side of the network"
    for kind in ("Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"):
        for each in found.of(kind):
            open_ = each["properties"]["publicNetworkAccess"] == "Enabled"
            if each["properties"]["networkAcls"]["defaultAction"] != ("Allow" if open_ else "Deny"):
                yield f"{each['name'][:3]} is neither open nor closed"
    if inside and found.one("Microsoft.ContainerRegistry/registries")["sku"]["name"] != "Premium":
        yield "this registry has no private endpoint"
    for each in found.of("Microsoft.Network/privateEndpoints"):
        (connection,) = each["properties"]["privateLinkServiceConnections"]
        wanted = SUBRESOURCES[each["name"].removeprefix("pep-")]
        if connection["properties"]["groupIds"] != [wanted]:
            yield f"{each['name']} leads to another part"


SUBRESOURCES = {
    "host-blob": "blob",
    "host-queue": "queue",
    "host-table": "table",
    "images-blob": "blob",
    "sql": "sqlServer",
    "vault": "vault",
    "registry": "registry",
}
"""Source: learn.microsoft.com, "Azure Private Endpoint private DNS zone values", subresources."""


def _tls(found: Predicted) -> Iterator[str]:
    """Where a service lets one say so; what has no such property takes nothing below 1.2 by itself."""
    site = found.one("Microsoft.Web/sites")["properties"]
    if (site["siteConfig"]["minTlsVersion"], site["siteConfig"]["scmMinTlsVersion"]) != ("1.2", "1.2"):
        yield "the app takes old TLS"
    if site["siteConfig"]["ftpsState"] != "Disabled":
        yield "the app has FTP"
    if found.one("Microsoft.Sql/servers")["properties"]["minimalTlsVersion"] != "1.2":
        yield "the database takes old TLS"
    for each in found.of("Microsoft.Storage/storageAccounts"):
        if each["properties"].get("supportsHttpsTrafficOnly") is not True:
            yield f"{each['name']} speaks http"


KEPT = {
    "Microsoft.KeyVault/vaults/kv-": {"AuditEvent"},
    "Microsoft.Devices/IotHubs/iot-": {"Routes", "DeviceIdentityOperations", "Configurations"},
    "Microsoft.Sql/servers/sql-": {"Errors", "Timeouts", "Blocks", "Deadlocks"},
}
"""Categories of each service's log that go to the workspace.

Source: learn.microsoft.com, "Supported logs for Microsoft.Devices/IotHubs", "… Microsoft.KeyVault/vaults", "…
Microsoft.Sql/servers/databases".
"""


def _diagnostics(found: Predicted) -> Iterator[str]:
    stated = {}
    for each in found.of("Microsoft.Insights/diagnosticSettings"):
        at = next((start for start in KEPT if f"/providers/{start}" in each["id"]), each["id"])
        stated[at] = {log["category"] for log in each["properties"]["logs"] if log["enabled"]}
        if ".outputs.workspaceId.value" not in str(each["properties"].get("workspaceId")):
            yield f"the log of {at} goes nowhere"
    if stated != KEPT:
        yield f"logs are kept otherwise: {stated}"


def of_prod(found: Predicted) -> list[str]:
    """What must hold beside the rules where a fleet hangs on it."""
    database = found.one("Microsoft.Sql/servers/databases")["properties"]
    backups = found.one("Microsoft.Sql/servers/databases/backupShortTermRetentionPolicies")["properties"]
    rules = {
        "the database does not survive the loss of a zone": database.get("zoneRedundant") is True,
        "the database pauses": database.get("autoPauseDelay") == -1,
        "backups are not kept for 35 days": backups["retentionDays"] == 35,
        "blobs do not survive the loss of a zone": {
            each["sku"]["name"] for each in found.of("Microsoft.Storage/storageAccounts")
        }
        == {"Standard_ZRS"},
    }
    return [sentence for sentence, holds in rules.items() if not holds]
