"""The HTTP interface under tools that know nothing of it but its OpenAPI document: an attacker and a generated client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cloud import CloudProcess
from tests.images import an_image, docker_save

pytestmark = pytest.mark.e2e

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    process = CloudProcess(tmp_path_factory.mktemp("promises"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def lived_in(cloud: CloudProcess) -> CloudProcess:
    """A cloud where every list has something in it."""
    for version in (1, 2):
        image = an_image({"lib/runtime.so": b"\7" * 5_000}, {"app/version": b"%d" % version}, references=[f"app:{version}"])
        assert cloud.register(docker_save(image))["state"] == "registered"
    boat = cloud.device("boat-1")
    boat.has(cloud.items("/api/images?reference=app:1")[0]["imageId"])
    boat.say("report", b"not a report")
    cloud.settled(cloud.start("boat-1", images=["app:2"]), "in_transit")
    cloud.start("boat-1", images=["app:1"], workstream="other", release="manual", maxBytes=1)
    return cloud


def test_no_request_made_from_the_document_is_answered_otherwise_than_it_says(lived_in: CloudProcess) -> None:
    endpoint = lived_in.host.endpoint()
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    command += [f"{endpoint['url']}/api/openapi.json", "--header", f"x-functions-key: {endpoint['key']}"]

    done = subprocess.run(command, capture_output=True, text=True, cwd=lived_in.host.state, timeout=500, check=False)

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    operations = sum(len(item.keys() - {"parameters"}) for item in lived_in.document["paths"].values())
    assert f"Tested: {operations}" in done.stdout
