"""Every kind of deployment that the parameters allow is what the code needs; what is spoilt in a template is told."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.conftest import Deployed
from tests.infra.predicted import LEAST, ROOT, predict, run
from tests.infra.rules import wrong

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


def test_without_a_network_nothing_of_one_is_made(deployed: Deployed) -> None:
    kinds = {each["type"] for each in deployed().resources}

    assert not {kind for kind in kinds if kind.startswith("Microsoft.Network/")}


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
    subnets = found.one("Microsoft.Network/virtualNetworks")["properties"]["subnets"]
    assert subnets[0]["properties"]["delegations"][0]["properties"]["serviceName"] == "Microsoft.App/environments"


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


SPOILT = [
    ("core/storage.bicep", "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "has shared keys"),
    ("core/storage.bicep", "[roles.blobDataOwner, roles.queueDataContributor, ", "[roles.blobDataOwner, ", "Queue"),
    ("core/storage.bicep", "roles.blobDataContributor)", "roles.blobDataOwner)", "too much"),
    ("core/storage.bicep", "loadJsonContent('../storage-lifecycle.json')", "{ rules: [] }", "lifecycle"),
    ("core/vault.bicep", "[roles.keyVaultCryptoUser, ", "[", "Key Vault Crypto User"),
    ("core/hub.bicep", "retentionTimeInDays: 7", "retentionTimeInDays: 1", "7 days"),
    ("core/hub.bicep", "rights: 'ServiceConnect'", "rights: 'RegistryWrite'", "more than listen"),
    ("core/hub.bicep", "var group = 'imagedelta'", "var group = 'other'", "consumer group"),
    ("core/hub.bicep", "= \\'imagereconstruction\\''", "= \\'another\\''", "routes"),
    ("core/database.bicep", "azureADOnlyAuthentication: true", "azureADOnlyAuthentication: false", "passwords"),
    ("app/api.bicep", "      AZURE_CLIENT_ID: identityClientId\n", "", "which identity"),
    ("app/api.bicep", "version: '3.12'", "version: '3.10'", "runtime"),
    (
        "app/api.bicep",
        "      AzureWebJobsStorage__credential: 'managedidentity'\n",
        "",
        "AzureWebJobsStorage__credential",
    ),
    ("main.bicep", "        IMAGEDELTA_STORAGE: storage.outputs.imagesUrl\n", "", "blobs"),
    ("main.bicep", "IMAGEDELTA_SEAL_KEYS: vault", "IMAGEDELTA_SEALS: vault", "IMAGEDELTA_SEALS"),
    ("main.bicep", "        IMAGEDELTA_HUB_MAIN_SERVICE: hub.outputs.host\n", "", "IMAGEDELTA_HUB_MAIN_SERVICE"),
    ("main.bicep", "        IMAGEDELTA_HUB_MAIN_CONSUMER_GROUP: hub.outputs.consumerGroup\n", "", "CONSUMER_GROUP"),
    (
        "main.bicep",
        "        IMAGEDELTA_REGISTRY_MAIN_HOST: registry.outputs.host\n",
        "",
        "IMAGEDELTA_REGISTRY_MAIN_HOST",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "told"), SPOILT, ids=lambda each: str(each)[:40])
def test_what_is_spoilt_in_a_template_is_told(
    infra: Path, tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    text = (infra / file).read_text()
    assert old in text
    (infra / file).write_text(text.replace(old, new))
    (infra / "bicepconfig.json").unlink()  # an unused output is not what is asked here

    assert told in "; ".join(wrong(predict(infra, tmp_path)))


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
