"""The ports of a process: made from settings, with a seal key where a local host was given none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imagedelta.bundles.keys import read_trusted_keys, write_key_pair
from imagedelta.errors import DependencyError, RequestError
from services.factory import hub_calls, make_deps, upgrade_database
from services.hubs.connection import HubConnection
from services.hubs.rest import RestCalls
from services.hubs.sdk import SdkCalls
from services.hubs.settings import HubSettings
from services.identity import Identity
from services.settings import Settings, load_settings


def local(folder: Path, **change: str) -> Settings:
    key = "LOCAL_IOTHUB_NORTH_SERVICE"
    connection = "HostName=http://127.0.0.1:1/iothub/north;SharedAccessKeyName=iothubowner;SharedAccessKey=a2V5"
    hubs = {"LOCAL_IOTHUBS": "north", key: connection}
    return load_settings({"LOCAL_BLOBS_DIR": str(folder / "blobs"), "LOCAL_BLOBS_KEY": "a2V5", **hubs, **change})


def test_a_local_host_has_everything_from_its_first_call_on(tmp_path: Path) -> None:
    upgrade_database(local(tmp_path))
    deps = make_deps(local(tmp_path))

    deps.store.healthy()
    assert list(deps.hubs) == ["north"]
    assert deps.blobs.put("scratch", "x", [b"1"]).size == 1


def test_a_process_leaves_the_schema_to_the_deployment(tmp_path: Path) -> None:
    with pytest.raises(DependencyError) as caught:
        make_deps(local(tmp_path)).store.healthy()
    assert caught.value.code == "dependency.schema_old"


def test_the_folder_of_the_default_database_is_made(tmp_path: Path) -> None:
    place = local(tmp_path / "not" / "there" / "yet")
    upgrade_database(place)

    store = make_deps(place).store
    store.healthy()
    store.close()
    assert (tmp_path / "not" / "there" / "yet" / "imagedelta.db").is_file()


def test_a_default_database_that_has_no_place_is_told_as_a_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(RequestError, match="IMAGEDELTA_DATABASE_URL is not set") as caught:
        make_deps(local(tmp_path / "file"))
    assert caught.value.code == "settings.invalid"


def test_a_local_host_keeps_the_key_it_made(tmp_path: Path) -> None:
    first = make_deps(local(tmp_path))
    second = make_deps(local(tmp_path))

    assert list(first.sealers) == list(second.sealers)
    assert list(read_trusted_keys(tmp_path / "seal.key.pub")) == list(first.sealers)
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "seal" in path.name) == ["seal.key", "seal.key.pub"]


def test_a_public_half_left_over_by_a_crash_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "seal.key.pub").write_text("left over\n")

    deps = make_deps(local(tmp_path))

    assert list(read_trusted_keys(tmp_path / "seal.key.pub")) == list(deps.sealers)


def test_given_keys_are_used_in_their_order(tmp_path: Path) -> None:
    one, two = (write_key_pair(tmp_path / name) for name in ("one", "two"))

    deps = make_deps(local(tmp_path, IMAGEDELTA_SEAL_KEYS=f"{tmp_path / 'two'}:{tmp_path / 'one'}"))

    assert list(deps.sealers) == [two.key_id, one.key_id]
    assert not (tmp_path / "seal.key").exists()


def test_without_a_place_for_blobs_the_setting_is_named(tmp_path: Path) -> None:
    settings = load_settings({"IMAGEDELTA_DATABASE_URL": f"sqlite:///{tmp_path / 'x.db'}"})

    with pytest.raises(RequestError, match="BLOBS_DIR") as caught:
        make_deps(settings)
    assert caught.value.code == "settings.invalid"


CLOUD = HubConnection("north.example", "service", b"k")
LOCAL = HubConnection("http://127.0.0.1:1/iothub/north", "service", b"k")


@pytest.mark.parametrize(
    ("connection", "client", "made"),
    [(CLOUD, "auto", SdkCalls), (CLOUD, "sdk", SdkCalls), (CLOUD, "rest", RestCalls), (LOCAL, "auto", RestCalls)],
)
def test_a_hub_is_asked_by_the_library_unless_it_is_local_or_the_settings_say_so(
    connection: HubConnection, client: str, made: type
) -> None:
    assert type(hub_calls(HubSettings("north", connection, client), Identity({}))) is made


def test_where_the_library_cannot_be_a_hub_is_asked_by_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on arm64: uamqp has no wheel there."""
    monkeypatch.setitem(sys.modules, "services.hubs.sdk", None)

    assert type(hub_calls(HubSettings("north", CLOUD), Identity({}))) is RestCalls
    with pytest.raises(RequestError, match="IMAGEDELTA_HUB_NORTH_CLIENT is sdk") as caught:
        hub_calls(HubSettings("north", CLOUD, "sdk"), Identity({}))
    assert caught.value.code == "settings.invalid"


def test_with_azurite_a_host_of_this_machine_makes_its_key_and_its_database_as_with_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    deps = make_deps(load_settings({"IMAGEDELTA_STORAGE": "UseDevelopmentStorage=true"}))

    assert list(read_trusted_keys(tmp_path / ".imagedelta/seal.key.pub")) == list(deps.sealers)


def test_an_account_in_azure_wants_a_key_that_outlives_this_machine() -> None:
    with pytest.raises(RequestError, match="IMAGEDELTA_SEAL_KEYS is not set: `imagedelta keys new`"):
        make_deps(load_settings({"IMAGEDELTA_STORAGE": "https://account.blob.core.windows.net"}))


@pytest.mark.parametrize("storage", ["UseDevelopmentStorage=true", "https://fleet.blob.core.windows.net"])
def test_an_account_goes_before_the_folder_of_a_local_host_and_is_not_asked_for_anything_yet(
    tmp_path: Path, storage: str
) -> None:
    deps = make_deps(local(tmp_path, IMAGEDELTA_STORAGE=storage))

    assert deps.blobs.container_url("patches").startswith(("http://127.0.0.1:10000/dev", "https://fleet.blob"))
    assert not (tmp_path / "blobs").exists()
