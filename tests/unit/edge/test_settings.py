"""Settings: complete or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_module.hub_azure import AzureAccess, Proxy
from edge_module.main import main
from edge_module.sas_token import ModuleConnection
from edge_module.settings import (
    hub_from_environment,
    log_from_environment,
    read_settings_file,
    settings_from_environment,
    trusted_keys_from_environment,
)
from imagedelta.errors import RequestError
from imagedelta.platforms import machine_platform
from tests.unit.edge.world import SEALER, STRANGER

CONNECTION = "HostName=http://h:1/iothub/n;DeviceId=d;ModuleId=m;SharedAccessKey=a2V5"
AZURE = "HostName=north.azure-devices.net;DeviceId=d;ModuleId=m;SharedAccessKey=a2V5"


def test_everything_but_the_root_has_a_default() -> None:
    settings = settings_from_environment({"IMAGEDELTA_ROOT": "/data", "IMAGEDELTA_PLATFORM": "linux/arm/v7"})

    assert (settings.root, settings.engine, settings.memory_bytes) == (Path("/data"), "layout", 128 << 20)
    assert (settings.platforms, settings.poll_seconds) == (("linux/arm/v7",), None)


@pytest.mark.parametrize(
    ("given", "platforms"),
    [
        ("linux/arm", ("linux/arm/v7",)),
        ("linux/arm64,linux/arm/v7", ("linux/arm64", "linux/arm/v7")),
        (None, (machine_platform(),)),
    ],
)
def test_a_device_may_state_several_platforms(given: str | None, platforms: tuple[str, ...]) -> None:
    settings = settings_from_environment(
        {"IMAGEDELTA_ROOT": "/data", **({"IMAGEDELTA_PLATFORM": given} if given else {})}
    )

    assert settings.platforms == platforms


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"IMAGEDELTA_ROOT": ""}, "IMAGEDELTA_ROOT is not set"),
        ({"IMAGEDELTA_ENGINE": "x"}, "IMAGEDELTA_ENGINE is 'x': known are"),
        ({"IMAGEDELTA_PLATFORM": "Linux"}, "IMAGEDELTA_PLATFORM"),
        ({"IMAGEDELTA_MEMORY_BYTES": "much"}, "IMAGEDELTA_MEMORY_BYTES is 'much'"),
        ({"IMAGEDELTA_POLL_SECONDS": "-1"}, "IMAGEDELTA_POLL_SECONDS"),
        ({"IMAGEDELTA_POLL_SECONDS": "nan"}, "IMAGEDELTA_POLL_SECONDS"),
        ({"IMAGEDELTA_LINK_BYTES_PER_SECOND": "fast"}, "IMAGEDELTA_LINK_BYTES_PER_SECOND"),
        ({"IMAGEDELTA_LINK_HOURS": "at night"}, "IMAGEDELTA_LINK_HOURS"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(changes: dict[str, str], named: str) -> None:
    with pytest.raises(RequestError, match=named) as caught:
        settings_from_environment({"IMAGEDELTA_ROOT": "/data", "IMAGEDELTA_PLATFORM": "linux/amd64", **changes})
    assert caught.value.code == "device.settings"


@pytest.mark.parametrize("wrong", [("IMAGEDELTA_LOG_LEVEL", "loud"), ("IMAGEDELTA_LOG_FORMAT", "xml")])
def test_a_log_that_nobody_can_write_is_refused_by_its_name(wrong: tuple[str, str]) -> None:
    with pytest.raises(RequestError, match=wrong[0]):
        log_from_environment(dict([wrong]))


def test_the_log_is_text_of_what_matters_unless_set_otherwise() -> None:
    assert log_from_environment({}) == ("INFO", "text")
    assert log_from_environment({"IMAGEDELTA_LOG_LEVEL": "debug", "IMAGEDELTA_LOG_FORMAT": "json"}) == ("DEBUG", "json")


def test_the_connection_string_stands_in_the_variable_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "hub"
    file.write_text(CONNECTION + "\n")

    given = hub_from_environment({"IMAGEDELTA_HUB": CONNECTION})

    assert isinstance(given, ModuleConnection)
    assert given == hub_from_environment({"IMAGEDELTA_HUB": str(file)})
    assert (given.device_id, given.module_id, given.base_url) == ("d", "m", "http://h:1/iothub/n")


@pytest.mark.parametrize("text", ["HostName=h", CONNECTION.replace("a2V5", "!!"), "/no/such/file", ""])
def test_a_wrong_connection_string_is_refused_without_showing_a_key(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        hub_from_environment({"IMAGEDELTA_HUB": text})
    assert caught.value.code == "device.settings"
    assert "SharedAccessKey=" not in str(caught.value)


def test_a_host_name_without_a_scheme_means_azure() -> None:
    given = hub_from_environment({"IMAGEDELTA_HUB": AZURE})

    assert given == AzureAccess("d", AZURE)
    assert "a2V5" not in repr(given)


def test_azure_is_reached_through_what_the_settings_name(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("PEM")

    given = hub_from_environment(
        {
            "IMAGEDELTA_HUB": AZURE,
            "IMAGEDELTA_HUB_CA": str(authority),
            "IMAGEDELTA_HUB_WEBSOCKETS": "yes",
            "IMAGEDELTA_HUB_PROXY": "socks5://crew:p%40ss@proxy:99",
        }
    )

    assert given == AzureAccess("d", AZURE, "PEM", True, Proxy("SOCKS5", "proxy", 99, "crew", "p@ss"))


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy", Proxy("HTTP", "proxy", 8080)),
        ("socks4://10.0.0.1:7", Proxy("SOCKS4", "10.0.0.1", 7)),
        ("", None),
    ],
)
def test_a_proxy_is_written_as_a_url(url: str, proxy: Proxy | None) -> None:
    assert hub_from_environment({"IMAGEDELTA_HUB": AZURE, "IMAGEDELTA_HUB_PROXY": url}) == AzureAccess(
        "d", AZURE, proxy=proxy
    )


@pytest.mark.parametrize("url", ["proxy:80", "ftp://proxy", "http://", "http://proxy:x"])
def test_a_proxy_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="IMAGEDELTA_HUB_PROXY is no"):
        hub_from_environment({"IMAGEDELTA_HUB": AZURE, "IMAGEDELTA_HUB_PROXY": url})


@pytest.mark.parametrize(
    "environment",
    [
        {"IOTEDGE_DEVICEID": "ship-1", "IOTEDGE_WORKLOADURI": "unix:///w"},
        {"EdgeHubConnectionString": "HostName=h;GatewayHostName=g;DeviceId=ship-1;ModuleId=m;SharedAccessKey=a2V5"},
    ],
)
def test_a_module_that_iot_edge_has_started_needs_no_connection_string(environment: dict[str, str]) -> None:
    assert hub_from_environment(environment) == AzureAccess("ship-1", None)


def test_a_connection_string_goes_before_iot_edges_environment() -> None:
    edge = {"IOTEDGE_DEVICEID": "ship-1", "IOTEDGE_WORKLOADURI": "unix:///w"}

    assert hub_from_environment({**edge, "IMAGEDELTA_HUB": AZURE}) == AzureAccess("d", AZURE)


def test_trusted_keys_come_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_text(SEALER.public_key.to_text() + "\n")
    (tmp_path / "b.pub").write_text("# rotated in\n" + STRANGER.public_key.to_text() + "\n")

    one = trusted_keys_from_environment({"IMAGEDELTA_KEYS": str(tmp_path / "a.pub")})
    both = trusted_keys_from_environment({"IMAGEDELTA_KEYS": str(tmp_path)})

    assert set(one) == {SEALER.key_id}
    assert set(both) == {SEALER.key_id, STRANGER.key_id}


def test_a_device_that_trusts_nobody_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no public key"):
        trusted_keys_from_environment({"IMAGEDELTA_KEYS": str(tmp_path)})


def test_the_command_names_the_setting_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("IMAGEDELTA_ROOT", raising=False)

    assert main(["images"]) == 2

    assert "IMAGEDELTA_ROOT is not set" in capsys.readouterr().err


def test_a_command_that_cannot_read_a_file_says_so_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGEDELTA_ROOT", str(tmp_path))

    code = main(["load", "x" * 300])

    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (3, 1)
    assert "too long" in said


def test_a_settings_file_has_pairs_comments_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "ship.env"
    path.write_text("# of ship-1\n\nIMAGEDELTA_ROOT=/data\nIMAGEDELTA_HUB=HostName=h;DeviceId=d\n")

    assert read_settings_file(path) == {"IMAGEDELTA_ROOT": "/data", "IMAGEDELTA_HUB": "HostName=h;DeviceId=d"}


@pytest.mark.parametrize("line", ["IMAGEDELTA_ROOT", "=x", "export A=b"])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ship.env"
    path.write_text(f"A=b\n{line}\n")

    with pytest.raises(RequestError, match="line 2"):
        read_settings_file(path)


def test_the_environment_outweighs_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    path = tmp_path / "ship.env"
    path.write_text(f"IMAGEDELTA_ROOT={tmp_path / 'ship'}\nIMAGEDELTA_RESERVE_BYTES=many\n")
    monkeypatch.setattr(os, "environ", {"IMAGEDELTA_RESERVE_BYTES": "0"})

    assert main(["--settings", str(path), "images"]) == 0

    monkeypatch.setattr(os, "environ", {})
    assert main(["--settings", str(path), "images"]) == 2
    assert "IMAGEDELTA_RESERVE_BYTES" in capsys.readouterr().err
