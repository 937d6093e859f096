"""Settings: a clean checkout needs none; what is wrong is named, all of it at once, before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagedelta.bundles.keys import write_key_pair
from imagedelta.errors import RequestError
from services.hubs.settings import hub_names, hub_variable
from services.settings import load_settings

ROOT = Path(__file__).parents[3]
CONNECTION = "HostName={};SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0"
LOCAL = {
    "LOCAL_BLOBS_DIR": "/state/blobs",
    "LOCAL_BLOBS_URL": "http://127.0.0.1:7071/blobs",
    "LOCAL_BLOBS_KEY": "a2V5",
    "LOCAL_IOTHUBS": "north, south-1",
    "LOCAL_IOTHUB_NORTH_SERVICE": CONNECTION.format("n"),
    "LOCAL_IOTHUB_SOUTH_1_SERVICE": CONNECTION.format("s"),
    "LOCAL_IOTHUB_NORTH_EVENTS": "UseLocalIotHub=true;EntityPath=north",
}


def refusal(env: dict[str, str]) -> str:
    with pytest.raises(RequestError) as caught:
        load_settings(env)
    assert caught.value.code == "settings.invalid"
    return str(caught.value)


def test_what_the_embedded_host_sets_is_enough() -> None:
    settings = load_settings(LOCAL)

    assert (settings.state_folder, settings.database_url) == (Path("/state"), None)
    assert settings.blobs_folder == Path("/state/blobs")
    assert {name: hub.connection.host for name, hub in settings.hubs.items()} == {"north": "n", "south-1": "s"}


def test_no_setting_at_all_names_no_hub() -> None:
    assert load_settings({}).hubs == {}
    assert hub_names({}) == ()


def test_an_empty_setting_is_one_that_is_not_set() -> None:
    names = ("GRANT_SECONDS", "SMTP_PORT", "SMTP_SECURITY", "PROFILE", "SEAL_KEYS", "PRIORITIES", "HUBS", "MAIL_FROM")

    assert load_settings({f"IMAGEDELTA_{name}": "" for name in names}) == load_settings({})


def test_a_setting_of_ones_own_wins_over_the_local_host() -> None:
    env = {**LOCAL, "IMAGEDELTA_HUBS": "east", "IMAGEDELTA_HUB_EAST_SERVICE": CONNECTION.format("e")}

    assert hub_names(env) == ("east",)
    assert load_settings(env).hubs["east"].connection.host == "e"
    assert hub_variable("north", "EVENTS", LOCAL) == "LOCAL_IOTHUB_NORTH_EVENTS"
    assert (
        hub_variable("north", "EVENTS", {**LOCAL, "IMAGEDELTA_HUB_NORTH_EVENTS": "x"}) == "IMAGEDELTA_HUB_NORTH_EVENTS"
    )
    assert hub_variable("east", "EVENTS", {}) == "IMAGEDELTA_HUB_EAST_EVENTS"


def test_a_hub_is_a_connection_string_or_a_host_name_and_says_how_large_it_is() -> None:
    env = {
        "IMAGEDELTA_HUBS": "north,south",
        "IMAGEDELTA_HUB_NORTH_SERVICE": "north-x1.azure-devices.net ",
        "IMAGEDELTA_HUB_NORTH_CLIENT": "rest",
        "IMAGEDELTA_HUB_NORTH_UNITS": "3",
        "IMAGEDELTA_HUB_SOUTH_SERVICE": CONNECTION.format("localhost:8443"),
    }

    north, south = load_settings(env).hubs.values()

    assert (north.connection.url, north.connection.key, north.client, north.units) == (
        *("https://north-x1.azure-devices.net", None, "rest", 3),
    )
    assert (south.connection.url, south.connection.key, south.client, south.units) == (
        *("https://localhost:8443", b"secret", "auto", 1),
    )


def test_images_are_registered_from_uploads_and_from_what_is_named() -> None:
    assert load_settings({}).image_containers == {"intake"}
    assert load_settings({"IMAGEDELTA_IMAGE_CONTAINERS": "drop, ci-builds,"}).image_containers == {
        *("ci-builds", "drop", "intake")
    }


def hub(name: str, connection: str) -> dict[str, str]:
    return {"IMAGEDELTA_HUBS": name, f"IMAGEDELTA_HUB_{name.upper()}_SERVICE": connection}


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"IMAGEDELTA_SMTP_PORT": "smtp"}, "IMAGEDELTA_SMTP_PORT must be a whole number from 1 to 65535, not 'smtp'"),
        ({"IMAGEDELTA_SMTP_PORT": "65536"}, "IMAGEDELTA_SMTP_PORT must be a whole number from 1 to 65535"),
        ({"IMAGEDELTA_SMTP_SECURITY": "ssl"}, "IMAGEDELTA_SMTP_SECURITY must be one of none, starttls, tls"),
        (
            {"IMAGEDELTA_SMTP_HOST": "mail.example", "IMAGEDELTA_SMTP_SECURITY": "none", "IMAGEDELTA_SMTP_USER": "u"},
            "password of IMAGEDELTA_SMTP_USER would cross the network in the clear to mail.example",
        ),
        ({"IMAGEDELTA_SMTP_PASSWORD": "Öl"}, "IMAGEDELTA_SMTP_PASSWORD must be ASCII"),
        ({"IMAGEDELTA_MAIL_COPIES": "ops@example.org, plant"}, "IMAGEDELTA_MAIL_COPIES holds 'plant'"),
        ({"IMAGEDELTA_WEBHOOK_URL": "https://example.org/x"}, "IMAGEDELTA_WEBHOOK_SECRET is not set"),
        ({"IMAGEDELTA_WEBHOOK_URL": "http://example.org/x"}, "IMAGEDELTA_WEBHOOK_URL must begin with https://"),
        ({"IMAGEDELTA_WEBHOOK_URL": "https://u:p@example.org"}, "IMAGEDELTA_WEBHOOK_URL must hold no login"),
        ({"IMAGEDELTA_WEBHOOK_URL": "https://[::1/"}, "IMAGEDELTA_WEBHOOK_URL must be an absolute https:// URL"),
        ({"IMAGEDELTA_WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "IMAGEDELTA_WEBHOOK_SECRET must be whsec_ and 24 to 64"),
        ({"IMAGEDELTA_SET_PAGE": "https://example.org/"}, "IMAGEDELTA_SET_PAGE must be an http(s):// URL that holds"),
        ({"IMAGEDELTA_MAIL_FROM": "fleet"}, "IMAGEDELTA_MAIL_FROM must be a mail address"),
        ({"IMAGEDELTA_MAX_ATTEMPTS": "-1"}, "IMAGEDELTA_MAX_ATTEMPTS must be"),
        ({"IMAGEDELTA_MAX_ATTEMPTS": "0"}, "IMAGEDELTA_MAX_ATTEMPTS must be"),
        ({"IMAGEDELTA_MAX_ATTEMPTS": "²"}, "IMAGEDELTA_MAX_ATTEMPTS must be"),
        ({"IMAGEDELTA_BATCH_SIZE": "5000"}, "IMAGEDELTA_BATCH_SIZE must be"),
        ({"IMAGEDELTA_GRANT_SECONDS": "9" * 5000}, "IMAGEDELTA_GRANT_SECONDS must be"),
        ({"IMAGEDELTA_PATCH_LEASE_SECONDS": "999999999999"}, "IMAGEDELTA_PATCH_LEASE_SECONDS must be"),
        ({"IMAGEDELTA_PROFILE": "v9"}, "IMAGEDELTA_PROFILE must be one of v2-64m"),
        ({"LOCAL_BLOBS_KEY": "?"}, "LOCAL_BLOBS_KEY must be base64"),
        ({"IMAGEDELTA_HUBS": "north"}, "IMAGEDELTA_HUB_NORTH_SERVICE is not set"),
        (hub("north", "HostName=x"), "IMAGEDELTA_HUB_NORTH_SERVICE lacks SharedAccessKeyName"),
        (hub("north", CONNECTION.format("")), "IMAGEDELTA_HUB_NORTH_SERVICE lacks HostName"),
        (hub("north", "HostName=x;SharedAccessKeyName=y;SharedAccessKey=?"), "SharedAccessKey that is not base64"),
        (hub("north", "north hub"), "IMAGEDELTA_HUB_NORTH_SERVICE is neither a host name nor HostName="),
        (hub("north", "https://x/y"), "IMAGEDELTA_HUB_NORTH_SERVICE is neither a host name nor HostName="),
        (hub("north", CONNECTION.format("a b")), "IMAGEDELTA_HUB_NORTH_SERVICE has a HostName that is none"),
        ({**hub("north", "n.io"), "IMAGEDELTA_HUB_NORTH_CLIENT": "amqp"}, "must be one of auto, sdk, rest"),
        ({**hub("north", "n.io"), "IMAGEDELTA_HUB_NORTH_UNITS": "0"}, "_NORTH_UNITS must be a whole number from 1"),
        ({"IMAGEDELTA_HUBS": "the north"}, "IMAGEDELTA_HUBS holds 'the north'"),
        ({"IMAGEDELTA_HUBS": "a_b"}, "IMAGEDELTA_HUBS holds 'a_b'"),
        ({"IMAGEDELTA_HUBS": "x" * 51}, "IMAGEDELTA_HUBS holds"),
        ({**hub("north", CONNECTION.format("n")), "IMAGEDELTA_HUBS": "north,North"}, "holds north in two spellings"),
        ({**LOCAL, "LOCAL_IOTHUBS": "a b"}, "LOCAL_IOTHUBS holds 'a b'"),
        ({"IMAGEDELTA_DATABASE_URL": "postgresql://u:s3cret@h/d"}, "must start with sqlite:// or mssql+pyodbc://"),
        ({"IMAGEDELTA_DATABASE_URL": "sqlite:////no/such/place/x.db"}, "/no/such/place, which is no folder: create it"),
        ({"IMAGEDELTA_SEAL_KEYS": "/no/such.key"}, "IMAGEDELTA_SEAL_KEYS cannot be used: key file /no/such.key"),
        ({"IMAGEDELTA_SEAL_KEYS": __file__}, "IMAGEDELTA_SEAL_KEYS cannot be used: private key"),
        ({"IMAGEDELTA_SEAL_KEYS": "https://v.vault.azure.net/keys/seal"}, "is named with its version"),
        ({"IMAGEDELTA_SEAL_KEYS": "https://v.vault.azure.net/secrets/seal/" + "a" * 32}, "is named with its version"),
        ({"IMAGEDELTA_SEAL_KEY_PEM": "hunter2"}, "IMAGEDELTA_SEAL_KEY_PEM holds no PEM"),
        ({"IMAGEDELTA_PRIORITIES": "/no/such.yaml"}, "IMAGEDELTA_PRIORITIES names /no/such.yaml, which is no file"),
        ({"IMAGEDELTA_PRIORITIES": __file__}, "IMAGEDELTA_PRIORITIES cannot be used: "),
        ({"IMAGEDELTA_RECON_REFERENCE": "Recon!"}, "IMAGEDELTA_RECON_REFERENCE names no image: "),
        ({"IMAGEDELTA_MODULE_ID": "image reconstruction"}, "IMAGEDELTA_MODULE_ID must be the id of a module"),
        ({"IMAGEDELTA_IMAGE_CONTAINERS": "../state"}, "IMAGEDELTA_IMAGE_CONTAINERS holds '../state'"),
        (
            {"IMAGEDELTA_IMAGE_CONTAINERS": "drop,patches"},
            "IMAGEDELTA_IMAGE_CONTAINERS holds patches, which is not for",
        ),
        ({"IMAGEDELTA_IMAGE_CONTAINERS": "azure-webjobs-secrets"}, "holds azure-webjobs-secrets, which is not for"),
        ({"IMAGEDELTA_IMAGE_CONTAINERS": "outbox-ship-1"}, "holds outbox-ship-1, which is not for"),
        (
            {"IMAGEDELTA_STORAGE": "UseDevelopmentStorage=true", "IMAGEDELTA_BLOBS_DIR": "/x"},
            "IMAGEDELTA_BLOBS_DIR is set beside IMAGEDELTA_STORAGE",
        ),
        ({"IMAGEDELTA_SMTP_PROT": "25"}, "IMAGEDELTA_SMTP_PROT is no setting: IMAGEDELTA_SMTP_PORT is"),
        ({"IMAGEDELTA_SEAL_KEYZ": "k"}, "IMAGEDELTA_SEAL_KEYZ is no setting: IMAGEDELTA_SEAL_KEYS is"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(env: dict[str, str], said: str) -> None:
    assert said in refusal(env)


def test_every_wrong_setting_is_named_at_once() -> None:
    said = refusal({"IMAGEDELTA_SMTP_PORT": "x", "IMAGEDELTA_SEAL_KEYS": "/no.key", "IMAGEDELTA_HUBS": "north"})

    assert said.startswith("3 settings are wrong: ")
    assert all(name in said for name in ("SMTP_PORT", "SEAL_KEYS", "HUB_NORTH_SERVICE"))


def test_no_secret_is_in_a_message_or_in_what_is_shown_of_settings() -> None:
    env = {
        **LOCAL,
        "IMAGEDELTA_SMTP_USER": "u",
        "IMAGEDELTA_SMTP_PASSWORD": "s3cret",
        "IMAGEDELTA_STORAGE": "https://a.b",
    }

    assert "s3cret" not in repr(load_settings(env))
    assert "c2VjcmV0" not in repr(load_settings(env))
    assert "c2VjcmV0" not in repr(load_settings({"IMAGEDELTA_STORAGE": "AccountName=a;AccountKey=c2VjcmV0"}))
    assert "s3cret" not in refusal({"IMAGEDELTA_STORAGE": "s3cret"})
    assert "s3cret" not in refusal({**env, "IMAGEDELTA_DATABASE_URL": "postgresql://u:s3cret@h/d"})
    assert "s3cret" not in refusal(hub("north", "SharedAccessKey=s3cret"))


@pytest.mark.parametrize(
    "name", ["IMAGEDELTA_HUB", "IMAGEDELTA_KEYS", "IMAGEDELTA_URL", "IMAGEDELTA_POLL_SECONDS", "IMAGEDELTA_USER"]
)
def test_variables_of_devices_and_tools_are_no_slips(name: str) -> None:
    assert load_settings({name: "x"})


# At start


def start(**environment: str) -> str:
    """Import the function app in a process of its own, as a host does; the last line of what it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("IMAGEDELTA", "LOCAL_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import function_app"],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def test_an_app_starts_without_settings_and_with_good_ones(tmp_path: Path) -> None:
    write_key_pair(tmp_path / "key")

    assert start() == ""
    assert start(**LOCAL, IMAGEDELTA_SEAL_KEYS=str(tmp_path / "key")) == ""


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("IMAGEDELTA_SEAL_KEYS", "/no/such.key", "cannot be used"),
        ("IMAGEDELTA_BATCH_SIZE", "many", "must be a whole number"),
        ("IMAGEDELTA_DATABASE_URL", "sqlite:///", "names a database in memory"),
        ("IMAGEDELTA_DATABASE_URL", "mssql+pyodbc://h:port/d", "is no URL of a database"),
    ],
)
def test_a_wrong_setting_keeps_the_app_from_starting(name: str, value: str, why: str) -> None:
    said = start(**LOCAL, **{name: value})

    assert said.startswith("imagedelta.errors.RequestError: ")
    assert f"{name} {why}" in said


def test_mail_to_another_machine_is_encrypted_unless_the_settings_say_otherwise() -> None:
    here, there = load_settings({}).mail, load_settings({"IMAGEDELTA_SMTP_HOST": "smtp.example"}).mail
    implicit = load_settings({"IMAGEDELTA_SMTP_HOST": "smtp.example", "IMAGEDELTA_SMTP_SECURITY": "tls"}).mail

    assert [(one.security, one.port) for one in (here, there, implicit)] == [
        ("none", 25),
        ("starttls", 587),
        ("tls", 465),
    ]


def test_copies_go_to_those_of_every_workstream_and_to_those_of_one() -> None:
    mail = load_settings(
        {"IMAGEDELTA_MAIL_COPIES": "ops@a.example, engines=plant@b.example,engines = ops@a.example"}
    ).mail

    assert mail.copies_of("engines") == ("ops@a.example", "plant@b.example")
    assert mail.copies_of("bridge") == ("ops@a.example",)


def test_no_secret_of_mail_or_webhook_is_in_what_the_settings_look_like() -> None:
    secret = "whsec_" + "c2VjcmV0" * 4
    settings = load_settings(
        {
            "IMAGEDELTA_SMTP_PASSWORD": "canary-1",
            "IMAGEDELTA_WEBHOOK_URL": "https://example.org/canary-2",
            "IMAGEDELTA_WEBHOOK_SECRET": secret,
        }
    )

    shown = repr(settings)

    assert settings.webhook is not None and settings.webhook.host == "example.org"
    assert "canary" not in shown and "secretsecret" not in shown
