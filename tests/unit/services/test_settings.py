"""Settings: a clean checkout needs none, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagedelta.errors import RequestError
from services.settings import hub_names, hub_variable, load_settings

LOCAL = {
    "LOCAL_BLOBS_DIR": "/state/blobs",
    "LOCAL_BLOBS_URL": "http://127.0.0.1:7071/blobs",
    "LOCAL_BLOBS_KEY": "a2V5",
    "LOCAL_IOTHUBS": "north, south-1",
    "LOCAL_IOTHUB_NORTH_SERVICE": "HostName=n",
    "LOCAL_IOTHUB_SOUTH_1_SERVICE": "HostName=s",
    "LOCAL_IOTHUB_NORTH_EVENTS": "UseLocalIotHub=true;EntityPath=north",
}


def test_what_the_embedded_host_sets_is_enough() -> None:
    settings = load_settings(LOCAL)

    assert settings.database_url == "sqlite:////state/imagedelta.db"
    assert settings.blobs_folder == Path("/state/blobs")
    assert {name: hub.service_connection for name, hub in settings.hubs.items()} == {
        "north": "HostName=n",
        "south-1": "HostName=s",
    }


def test_no_setting_at_all_names_no_hub() -> None:
    assert load_settings({}).hubs == {}
    assert hub_names({}) == ()


def test_a_setting_of_ones_own_wins_over_the_local_host() -> None:
    env = {**LOCAL, "IMAGEDELTA_HUBS": "east", "IMAGEDELTA_HUB_EAST_SERVICE": "HostName=e"}

    assert hub_names(env) == ("east",)
    assert load_settings(env).hubs["east"].service_connection == "HostName=e"
    assert hub_variable("north", "EVENTS", LOCAL) == "LOCAL_IOTHUB_NORTH_EVENTS"
    assert (
        hub_variable("north", "EVENTS", {**LOCAL, "IMAGEDELTA_HUB_NORTH_EVENTS": "x"}) == "IMAGEDELTA_HUB_NORTH_EVENTS"
    )
    assert hub_variable("east", "EVENTS", {}) == "IMAGEDELTA_HUB_EAST_EVENTS"


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"IMAGEDELTA_HUBS": "north"}, "IMAGEDELTA_HUB_NORTH_SERVICE"),
        ({"IMAGEDELTA_SMTP_PORT": "smtp"}, "IMAGEDELTA_SMTP_PORT"),
        ({"IMAGEDELTA_MAX_ATTEMPTS": "-1"}, "IMAGEDELTA_MAX_ATTEMPTS"),
        ({"IMAGEDELTA_GRANT_SECONDS": ""}, "IMAGEDELTA_GRANT_SECONDS"),
    ],
)
def test_a_wrong_setting_is_named(env: dict[str, str], named: str) -> None:
    with pytest.raises(RequestError, match=named) as caught:
        load_settings(env)
    assert caught.value.code == "settings.invalid"
