"""function_app.py is indexed as the real host does it: by a fresh process, with and without settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import imagedelta
from services.settings import load_settings
from triggers.table import ALL

ROOT = Path(__file__).parents[3]
INDEX = """
import json, sys, typing
from pathlib import Path
from imagedelta_host.loader import load_app
found = [
    {"name": f.name, "kind": f.kind, "trigger": f.trigger, "disabled": f.disabled, "clients": f.clients,
     "retry": f.retry is not None, "hints": sorted(typing.get_type_hints(f.run))}
    for f in load_app(Path(sys.argv[1]))
]
print(json.dumps(found))
"""


def index(**environment: str) -> dict[str, dict[str, Any]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IMAGEDELTA", "LOCAL_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INDEX, str(ROOT)],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {item["name"]: item for item in json.loads(done.stdout.splitlines()[-1])}


@pytest.fixture(scope="module")
def bare() -> dict[str, dict[str, Any]]:
    return index()


def sample() -> dict[str, str]:
    values: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    return values


def test_it_is_indexed_without_any_setting(bare: dict[str, dict[str, Any]]) -> None:
    kinds = {item["kind"] for item in bare.values()}

    assert kinds == {"httpTrigger", "timerTrigger", "activityTrigger", "orchestrationTrigger"}
    assert bare["timer"]["trigger"]["schedule"] == "0 * * * * *"
    assert bare["timer_retention"]["trigger"]["schedule"] == "0 17 * * * *"
    assert {"register_image", "deploy_set", "nudge"} <= {
        item["trigger"].get("orchestration") or name
        for name, item in bare.items()
        if item["kind"] == "orchestrationTrigger"
    }


def test_every_endpoint_is_a_function_and_the_catch_all_sorts_last(bare: dict[str, dict[str, Any]]) -> None:
    served = {name: item for name, item in bare.items() if item["kind"] == "httpTrigger"}

    assert set(served) == {resource.name for resource in ALL} | {"unknown_path"}
    assert max(served) == "unknown_path"
    open_ones = {name for name, item in served.items() if item["trigger"]["authLevel"].lower() == "anonymous"}
    assert open_ones == {"api_dashboard", "api_health", "api_openapi", "api_hooks_registry", "unknown_path"}


def test_with_platform_authentication_no_route_asks_for_a_key_too() -> None:
    """The host would ask for one also of who brings a token: azure-functions-host, issue 11394."""
    platform = index(WEBSITE_AUTH_ENABLED="True", WEBSITE_INSTANCE_ID="an instance")

    levels = {item["trigger"]["authLevel"].lower() for item in platform.values() if item["kind"] == "httpTrigger"}
    assert levels == {"anonymous"}


@pytest.fixture(scope="module")
def configured() -> dict[str, dict[str, Any]]:
    """The sample settings, and a hub of the embedded host beside the sample's."""
    hubs = {
        "IMAGEDELTA_HUBS": "local,south-1",
        "LOCAL_IOTHUB_SOUTH_1_SERVICE": "HostName=s;SharedAccessKeyName=iothubowner;SharedAccessKey=a2V5",
        "LOCAL_IOTHUB_SOUTH_1_EVENTS": "UseLocalIotHub=true;EntityPath=south-1",
    }
    return index(**{**sample(), **hubs})


def test_each_hub_has_a_trigger_that_takes_bytes_in_batches_and_is_retried(
    configured: dict[str, dict[str, Any]],
) -> None:
    hubs = {name: item for name, item in configured.items() if item["kind"] == "eventHubTrigger"}

    assert set(hubs) == {"hub_events_local", "hub_events_south_1"}
    assert hubs["hub_events_local"]["trigger"]["connection"] == "IMAGEDELTA_HUB_LOCAL_EVENTS"
    assert hubs["hub_events_south_1"]["trigger"]["connection"] == "LOCAL_IOTHUB_SOUTH_1_EVENTS"
    for item in hubs.values():
        assert (item["trigger"]["cardinality"].lower(), item["trigger"]["dataType"].lower()) == ("many", "binary")
        assert (item["retry"], item["clients"]) == (True, ["client"])


def test_the_sample_settings_work_and_switch_the_hub_off(configured: dict[str, dict[str, Any]]) -> None:
    values = sample()

    assert configured["hub_events_local"]["disabled"]
    assert not any(item["disabled"] for name, item in configured.items() if name != "hub_events_local")
    assert load_settings(values).hubs["local"]
    assert values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"


def test_the_host_runs_an_instance_once_and_takes_the_wanted_bundle() -> None:
    host = json.loads((ROOT / "host.json").read_text())

    assert host["extensionBundle"]["version"] == "[4.*, 5.0.0)"
    assert host["extensions"]["durableTask"]["overridableExistingInstanceStates"] == "NonRunningStates"


def test_the_version_that_health_tells_is_the_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert imagedelta.__version__ == project["version"]
