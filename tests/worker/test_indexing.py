"""Microsoft's worker takes the function app, with any settings, and finds in it what the embedded host finds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.worker.azure_worker import ROOT, AzureWorker, clean_environment

INDEX = """
import json, sys
from pathlib import Path
from imagedelta_host.loader import load_app
print(json.dumps([[f.name, f.trigger, sorted(f.clients), bool(f.retry)] for f in load_app(Path(sys.argv[1]))]))
"""


def sample() -> dict[str, str]:
    values: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    return values


TWO_HUBS = {
    "IMAGEDELTA_HUBS": "north,south-1",
    "IMAGEDELTA_HUB_NORTH_SERVICE": "HostName=north.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=a2V5",
    "IMAGEDELTA_HUB_NORTH_EVENTS": "Endpoint=sb://n/;SharedAccessKeyName=x;SharedAccessKey=a2V5;EntityPath=n",
    "IMAGEDELTA_HUB_SOUTH_1_SERVICE": "HostName=south.azure-devices.net;SharedAccessKeyName=x;SharedAccessKey=a2V5",
    "IMAGEDELTA_HUB_SOUTH_1_EVENTS": "Endpoint=sb://s/;SharedAccessKeyName=x;SharedAccessKey=a2V5;EntityPath=s",
}
SETTINGS = {"none": {}, "the sample": sample(), "two hubs": TWO_HUBS}


def found_by_the_worker(settings: dict[str, str]) -> dict[str, Any]:
    """Name to trigger, durable clients, and whether there is a retry policy."""
    worker = AzureWorker(ROOT, **settings)
    worker.stop()
    return {name: _described(item) for name, item in worker.functions.items()}


def _described(item: dict[str, Any]) -> list[Any]:
    bindings = [json.loads(text) for text in item["raw_bindings"]]
    trigger = next(binding for binding in bindings if binding["type"].endswith("Trigger"))
    clients = sorted(binding["name"] for binding in bindings if binding["type"] == "durableClient")
    return [trigger, clients, "retry_options" in item]


def found_by_the_embedded_host(settings: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", INDEX, str(ROOT)], env=clean_environment(**settings), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {name: described for name, *described in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_worker_and_the_embedded_host_find_the_same_functions(settings: dict[str, str]) -> None:
    assert found_by_the_worker(settings) == found_by_the_embedded_host(settings)


def test_two_hubs_are_two_functions_with_retries() -> None:
    found = found_by_the_worker(TWO_HUBS)

    hubs = {name: item for name, item in found.items() if item[0]["type"] == "eventHubTrigger"}
    assert {name: item[0]["connection"] for name, item in hubs.items()} == {
        "hub_events_north": "IMAGEDELTA_HUB_NORTH_EVENTS",
        "hub_events_south_1": "IMAGEDELTA_HUB_SOUTH_1_EVENTS",
    }
    assert all(clients == ["client"] and retries for _, clients, retries in hubs.values())
