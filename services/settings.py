"""Settings of the function app, from environment variables (application settings in Azure).

``LOCAL_*`` variables are set by the embedded host, so that a clean checkout needs no setting at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from imagedelta.errors import RequestError


@dataclass(frozen=True)
class MailSettings:
    host: str
    port: int
    sender: str
    username: str | None
    password: str | None
    starttls: bool


@dataclass(frozen=True)
class HubSettings:
    name: str
    service_connection: str
    """Connection string of the hub's service side."""


@dataclass(frozen=True)
class Settings:
    database_url: str
    """SQLAlchemy URL: sqlite:///… or mssql+pyodbc://…"""
    blobs_folder: Path | None
    """Folder adapter; None when ``storage_connection`` names an account."""
    blobs_url: str
    blobs_key: str
    storage_connection: str | None
    hubs: Mapping[str, HubSettings]
    module_id: str
    """The only module whose messages are believed."""
    mail: MailSettings
    seal_keys: tuple[Path, ...]
    """Private keys, preferred first."""
    priorities_file: Path
    grant_lifetime: timedelta
    patch_lease: timedelta
    claim_lease: timedelta
    max_attempts: int
    """Attempts of a transfer, each with other sources, before it fails."""
    max_mail_tries: int
    batch_size: int
    """Activities in one fan-out; 50 to 200."""
    apply_timeout: timedelta
    """After this long with the link up, a released member whose modules do not run is apply_failed."""
    default_profile: str
    recon_repository: str
    """Repository name of the Image Reconstruction module's own image: a further source on every device."""
    max_upload_bytes: int


def load_settings(env: Mapping[str, str] = os.environ) -> Settings:
    """Raises: RequestError ``settings.invalid`` naming the variable that is missing or wrong."""
    folder = env.get("IMAGEDELTA_BLOBS_DIR") or env.get("LOCAL_BLOBS_DIR")
    state = Path(folder).parent if folder else Path(".imagedelta").resolve()
    return Settings(
        database_url=env.get("IMAGEDELTA_DATABASE_URL") or f"sqlite:///{state / 'imagedelta.db'}",
        blobs_folder=Path(folder) if folder else None,
        blobs_url=env.get("LOCAL_BLOBS_URL", ""),
        blobs_key=env.get("LOCAL_BLOBS_KEY", ""),
        storage_connection=env.get("IMAGEDELTA_STORAGE") or None,
        hubs=_hubs(env),
        module_id=env.get("IMAGEDELTA_MODULE_ID", "imagereconstruction"),
        mail=_mail(env),
        seal_keys=tuple(Path(path) for path in env.get("IMAGEDELTA_SEAL_KEYS", "").split(os.pathsep) if path),
        priorities_file=Path(env.get("IMAGEDELTA_PRIORITIES", "priorities.yaml")),
        grant_lifetime=_seconds(env, "IMAGEDELTA_GRANT_SECONDS", 30 * 86_400),
        patch_lease=_seconds(env, "IMAGEDELTA_PATCH_LEASE_SECONDS", 3_600),
        claim_lease=_seconds(env, "IMAGEDELTA_CLAIM_LEASE_SECONDS", 120),
        max_attempts=_number(env, "IMAGEDELTA_MAX_ATTEMPTS", 4),
        max_mail_tries=_number(env, "IMAGEDELTA_MAX_MAIL_TRIES", 10),
        batch_size=_number(env, "IMAGEDELTA_BATCH_SIZE", 100),
        apply_timeout=_seconds(env, "IMAGEDELTA_APPLY_TIMEOUT_SECONDS", 3_600),
        default_profile=env.get("IMAGEDELTA_PROFILE", "v1-64m"),
        recon_repository=_repository(env.get("IMAGEDELTA_RECON_REFERENCE", "imagereconstruction")),
        max_upload_bytes=_number(env, "IMAGEDELTA_MAX_UPLOAD_BYTES", 64 << 30),
    )


def hub_names(env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """``IMAGEDELTA_HUBS=north,south``; locally the hubs of the embedded host."""
    text = env.get("IMAGEDELTA_HUBS") or env.get("LOCAL_IOTHUBS", "")
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def hub_variable(name: str, what: str, env: Mapping[str, str] = os.environ) -> str:
    """The variable that holds ``what`` (SERVICE, EVENTS …) of a hub: IMAGEDELTA_HUB_<NAME>_<WHAT>, or the
    LOCAL_IOTHUB_ one when only that is set."""
    key = f"{name.upper().replace('-', '_')}_{what}"
    local = f"LOCAL_IOTHUB_{key}"
    own = f"IMAGEDELTA_HUB_{key}"
    return local if env.get(local) and not env.get(own) else own


def _hubs(env: Mapping[str, str]) -> dict[str, HubSettings]:
    return {name: HubSettings(name, _hub_connection(env, name)) for name in hub_names(env)}


def _hub_connection(env: Mapping[str, str], name: str) -> str:
    variable = hub_variable(name, "SERVICE", env)
    connection = env.get(variable)
    if not connection:
        raise RequestError(f"{variable} is not set for hub {name}", code="settings.invalid")
    return connection


def _mail(env: Mapping[str, str]) -> MailSettings:
    return MailSettings(
        host=env.get("IMAGEDELTA_SMTP_HOST", "127.0.0.1"),
        port=_number(env, "IMAGEDELTA_SMTP_PORT", 25),
        sender=env.get("IMAGEDELTA_MAIL_FROM", "imagedelta@localhost"),
        username=env.get("IMAGEDELTA_SMTP_USER") or None,
        password=env.get("IMAGEDELTA_SMTP_PASSWORD") or None,
        starttls=env.get("IMAGEDELTA_SMTP_STARTTLS", "false").lower() == "true",
    )


def _repository(reference: str) -> str:
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdigit():
        raise RequestError(f"{name} must be a whole number, not {text!r}", code="settings.invalid")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: int) -> timedelta:
    return timedelta(seconds=_number(env, name, default))
