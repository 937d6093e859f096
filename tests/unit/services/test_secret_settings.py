"""Settings that hold secrets: whatever is wrong with one, its value is in no message and nothing that is shown."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagedelta.bundles.keys import generate_private_key, private_key_pem
from imagedelta.errors import ImageDeltaError
from services.settings import load_settings

SECRET = "Canary0Canary1Canary2Canary3Canary4Can"
SECRETS = (
    "IMAGEDELTA_DATABASE_URL",
    "IMAGEDELTA_HOOK_SECRET",
    "IMAGEDELTA_HUB_NORTH_EVENTS",
    "IMAGEDELTA_HUB_NORTH_SERVICE",
    "IMAGEDELTA_REGISTRY_PROD_PASSWORD",
    "IMAGEDELTA_SEAL_KEY_PEM",
    "IMAGEDELTA_SMTP_PASSWORD",
    "IMAGEDELTA_STORAGE",
    "IMAGEDELTA_WEBHOOK_SECRET",
    "IMAGEDELTA_WEBHOOK_URL",
    "LOCAL_BLOBS_KEY",
)
NEARLY = ("IMAGEDELTA_REGISTRY_PROD_HOST", "IMAGEDELTA_SEAL_KEYS")
"""Where people put secrets that belong elsewhere."""
OTHERS = {
    "IMAGEDELTA_HUBS": "north",
    "IMAGEDELTA_HUB_NORTH_SERVICE": "hub.example",
    "IMAGEDELTA_REGISTRIES": "prod",
    "IMAGEDELTA_REGISTRY_PROD_HOST": "registry.example",
    "IMAGEDELTA_REGISTRY_PROD_USER": "robot",
    "IMAGEDELTA_REGISTRY_PROD_PASSWORD": "another",
}
FORMS = (
    "{}",
    "{}=",
    " {}\n",
    "user:{}@host.example",
    "https://user:{}@host.example/path",
    "https://host.example/path?sig={}",
    "mssql+pyodbc://user:{}@host.example/db?driver=none",
    "mssql+pyodbc://user:{}@@host:port:7/db",
    "postgresql://user:{}@host/db",
    "HostName=h;SharedAccessKeyName=owner;SharedAccessKey={}",
    "HostName=h;SharedAccessKeyName=owner;SharedAccessKey={}!",
    "HostName={};SharedAccessKeyName=owner",
    "Endpoint=sb://e/;SharedAccessKeyName=owner;SharedAccessKey={}",
    "AccountName=a;AccountKey={}!",
    "AccountName=a;AccountKey={}==;BlobEndpoint=ftp://x",
    "BlobEndpoint=https://a.blob.core.windows.net;SharedAccessSignature=sv=2024-11-04&sig={}",
    "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "@Microsoft.KeyVault(SecretUri=https://v/secrets/{})",
)


def everything_told(environment: dict[str, str]) -> str:
    """What settings, messages and remedies say, with the errors that they were made of."""
    try:
        return repr(load_settings(environment))
    except ImageDeltaError as error:
        return f"{error} {error!r} {error.remedy}"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SECRETS)
def test_nothing_that_is_said_of_a_secret_setting_holds_any_of_it(tmp_path: Path, name: str, form: str) -> None:
    secret = base64.b64encode(SECRET.encode()).decode().rstrip("=")
    environment = {"LOCAL_BLOBS_DIR": str(tmp_path), **OTHERS, name: form.format(secret)}

    assert secret[:12] not in everything_told(environment)


@pytest.mark.parametrize("form", ["user:{}@host.example", "https://user:{}@host.example", "https://h/a?sig={}"])
@pytest.mark.parametrize("name", NEARLY)
def test_a_secret_in_an_address_is_not_repeated_either(tmp_path: Path, name: str, form: str) -> None:
    environment = {"LOCAL_BLOBS_DIR": str(tmp_path), **OTHERS, name: form.format(SECRET)}

    assert SECRET[:12] not in everything_told(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEDELTA_DATABASE_URL", f"mssql+pyodbc://user:{SECRET}@host.example/db?driver=none"),
        ("IMAGEDELTA_DATABASE_URL", f"mssql+pyodbc://user:{SECRET}@@host:port:7/db"),
        ("IMAGEDELTA_STORAGE", f"AccountName=a;AccountKey={SECRET}!"),
        ("IMAGEDELTA_SEAL_KEY_PEM", f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"),
    ],
)
def test_an_app_that_does_not_start_tells_no_secret_with_its_traceback(tmp_path: Path, name: str, value: str) -> None:
    """The host logs what the app raises at its import, with every cause."""
    script = "from services.factory import check_settings; check_settings()"
    environment = {**os.environ, "LOCAL_BLOBS_DIR": str(tmp_path), name: value}

    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert SECRET[:12] not in ran.stdout + ran.stderr


def test_the_settings_that_work_are_shown_without_secrets(tmp_path: Path) -> None:
    key = base64.b64encode(SECRET.encode()).decode()
    pem = private_key_pem(generate_private_key()).decode()
    environment = {
        **OTHERS,
        "LOCAL_BLOBS_DIR": str(tmp_path),
        "LOCAL_BLOBS_KEY": key,
        "IMAGEDELTA_STORAGE": f"AccountName=a;AccountKey={key}",
        "IMAGEDELTA_HUB_NORTH_SERVICE": f"HostName=h;SharedAccessKeyName=owner;SharedAccessKey={key}",
        "IMAGEDELTA_REGISTRY_PROD_PASSWORD": SECRET,
        "IMAGEDELTA_HOOK_SECRET": SECRET,
        "IMAGEDELTA_SMTP_PASSWORD": SECRET,
        "IMAGEDELTA_SEAL_KEY_PEM": pem,
        "IMAGEDELTA_DATABASE_URL": f"mssql+pyodbc://user:{SECRET}@host.example/db",
    }

    shown = repr(load_settings(environment))

    assert not any(secret in shown for secret in (SECRET, key, pem.splitlines()[1]))
