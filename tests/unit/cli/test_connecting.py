"""``devices connect``: a module's connection, and a settings file it runs with."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from edge_module.settings import hub_from_environment, read_settings_file, settings_from_environment
from imagedelta_cli import api_options
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.main import run
from imagedelta_local import hub_service

SERVICE = "HostName=http://127.0.0.1:7071/iothub/north;SharedAccessKeyName=iothubowner;SharedAccessKey=a2V5"
KEY = "c2VjcmV0"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The paths of identities that a local hub ``north`` has; a device of it and one of ``far`` are enrolled."""
    monkeypatch.chdir(tmp_path)
    known: set[str] = set()

    def api(request: httpx.Request) -> httpx.Response:
        device = request.url.path.rpartition("/")[2]
        hub = "far" if device == "plane-1" else "north"
        return httpx.Response(200, json={"hub": hub, "platform": "linux/arm64", "alsoRuns": ["linux/arm/v7"]})

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/iothub/north")
        if request.method == "PUT":
            known.add(path)
        if path not in known:
            return httpx.Response(404)
        return httpx.Response(200, json={"authentication": {"symmetricKey": {"primaryKey": KEY}}})

    endpoint = Endpoint("http://host", "key", {"north": SERVICE})
    client = httpx.Client(transport=httpx.MockTransport(api))
    monkeypatch.setattr(api_options, "find_endpoint", lambda url, key, audience: endpoint)
    monkeypatch.setattr(api_options, "Api", lambda endpoint: Api(endpoint, client=client))
    monkeypatch.setattr(hub_service.httpx, "Client", _client_of(answer))
    return known


def _client_of(answer: Callable[[httpx.Request], httpx.Response]) -> Callable[..., httpx.Client]:
    client = httpx.Client
    return lambda **_: client(transport=httpx.MockTransport(answer))


def test_the_connection_is_given_and_the_module_registered_once(hub: set[str], capsys) -> None:
    for _ in range(2):
        assert run(["devices", "connect", "ship-1", "--json"]) == 0
        connection = json.loads(capsys.readouterr().out)["connection"]
        assert connection == (
            "HostName=http://127.0.0.1:7071/iothub/north;DeviceId=ship-1;ModuleId=imagereconstruction;"
            f"SharedAccessKey={KEY}"
        )

    assert hub == {"/devices/ship-1", "/devices/ship-1/modules/imagereconstruction"}


def test_the_settings_file_is_private_and_what_the_module_reads(hub: set[str], capsys) -> None:
    Path("fleet.key.pub").write_text("a key")

    assert run(["devices", "connect", "ship-1", "-o", "ship-1.env", "--keys", "fleet.key.pub"]) == 0

    assert "python -m edge_module --settings" in capsys.readouterr().out
    assert stat.S_IMODE(Path("ship-1.env").stat().st_mode) == 0o600
    environment = read_settings_file(Path("ship-1.env"))
    settings = settings_from_environment(environment)
    assert (settings.root, settings.platforms) == (Path.cwd() / "ship-1", ("linux/arm64", "linux/arm/v7"))
    assert hub_from_environment(environment).device_id == "ship-1"
    assert environment["IMAGEDELTA_KEYS"] == str(Path.cwd() / "fleet.key.pub")


def test_a_hub_in_azure_is_not_asked_from_here(hub: set[str], capsys) -> None:
    assert run(["devices", "connect", "plane-1"]) == 1

    said = capsys.readouterr().err
    assert "hub far is no local hub" in said
    assert "az iot hub module-identity connection-string show" in said


@pytest.mark.parametrize("options", [["-o", "x"], ["--keys", "k"]])
def test_a_settings_file_without_keys_is_wrong_use(hub: set[str], options: list[str]) -> None:
    Path("k").write_text("")

    assert run(["devices", "connect", "ship-1", *options]) == 2
    assert not Path("x").exists()


def test_a_device_whose_id_is_no_folder_asks_for_one(hub: set[str]) -> None:
    Path("k").write_text("")

    assert run(["devices", "connect", "..", "-o", "x", "--keys", "k"]) == 2
    assert run(["devices", "connect", "..", "-o", "x", "--keys", "k", "--root", "ship"]) == 0
