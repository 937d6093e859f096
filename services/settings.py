"""Settings of the function app, from environment variables (application settings in Azure).

``LOCAL_*`` variables are set by the embedded host, so that a clean checkout needs no setting at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from imagedelta.delta.format.profiles import DEFAULT_PROFILE, PROFILES
from imagedelta.errors import ImageDeltaError
from imagedelta.limits import DEFAULT_LIMITS, Limits, raised_limits
from imagedelta.names import parse_name
from services.blobs.azure_settings import StorageSettings, read_storage
from services.caller_settings import CallerSettings, read_caller_settings
from services.hubs.settings import HubSettings, read_hubs
from services.notices.mail_settings import MailSettings, read_mail
from services.notices.webhook_settings import WebhookSettings, read_webhook
from services.ports import OWN_CONTAINERS
from services.registries.settings import IntakeSettings, read_intake
from services.rules_file import read_rules
from services.seals.settings import SealSettings, read_seal_settings
from services.setting_values import Values
from services.watching.settings import TelemetrySettings, read_telemetry

_DATABASES = ("sqlite", "mssql+pyodbc")
_SET_PAGE = re.compile(r"https?://[^\s\"'<>{}\\^`|]*\{set\}[^\s\"'<>{}\\^`|]*")
_MODULE = re.compile(r"[^\s/]{1,128}")
_MAX_BATCH = 1000
_DEFAULTS = tuple(name for name, profile in PROFILES.items() if not profile.mixes)
"""Those with the native coder are taken by themselves where it is."""
_THIN_LINK = 250_000
"""2 Mbit/s."""
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_OTHERS_CONTAINERS = ("outbox-", "azure-webjobs-", "insights-", "$")
"""Devices' outboxes, and what Azure keeps in a storage account of a function app: keys, leases, logs."""


@dataclass(frozen=True)
class Settings:
    state_folder: Path
    """Where a local default keeps what it makes: the database and the seal key."""
    database_url: str | None = field(repr=False)
    """SQLAlchemy URL: sqlite:///… or mssql+pyodbc://…; None for a file in ``state_folder``."""
    storage: StorageSettings | None
    """The storage account that blobs lie in; None for ``blobs_folder``."""
    blobs_folder: Path | None
    """Not for blobs with ``storage``. Without both nothing but indexing works."""
    blobs_url: str
    blobs_key: str = field(repr=False)
    hubs: Mapping[str, HubSettings]
    module_id: str
    """The only module whose messages are believed."""
    mail: MailSettings
    webhook: WebhookSettings | None
    """None: events go out by mail alone."""
    telemetry: TelemetrySettings
    set_page: str
    """URL of the page of a set, ``{set}`` for its id; empty for none."""
    seals: SealSettings
    priorities_file: Path
    grant_lifetime: timedelta
    patch_grant_lifetime: timedelta
    shared_bundles: bool
    """Devices that fetch shared bundles get such; else every bundle is composed."""
    patch_lease: timedelta
    """A builder that is not heard of for so long has died."""
    max_build_tries: int
    """Steps of a build that are begun in a row without one that ends, before the patch fails."""
    claim_lease: timedelta
    max_attempts: int
    """Attempts of a transfer, each with other sources, before it fails."""
    max_notify_tries: int
    """Of a mail, or of an event of the webhook."""
    attend_seconds: int
    """How long one call of the timer works on what is due."""
    attend_threads: int
    """Calls of hubs and mail servers side by side."""
    batch_size: int
    """Activities in one fan-out; 50 to 200."""
    silent_after: timedelta
    """A device that is not heard from for so long is silent."""
    read_hubs_every: timedelta
    """How often hubs are read whose devices are kept in step."""
    platform_tag: str
    """Tag of a hub's device that names its platform, for devices that are enrolled from there."""
    apply_timeout: timedelta
    """After this long with the link up, a released member whose modules do not run is apply_failed."""
    default_profile: str
    thin_link: int
    """Bytes a second below which new bytes are coded for the shortest patch, however long a device decodes them."""
    recon_repository: str
    """Repository name of the Image Reconstruction module's own image: a further source on every device."""
    max_upload_bytes: int
    image_containers: frozenset[str]
    """Containers that a registration may name a blob of."""
    intake: IntakeSettings
    archive_limits: Limits
    """Of reading archives; IMAGEDELTA_LIMITS raises them."""
    callers: CallerSettings


def load_settings(env: Mapping[str, str] = os.environ) -> Settings:
    """Read every setting, and the files that settings name. Reaches nothing over a network.

    Raises: RequestError ``settings.invalid`` that names every variable that is missing or wrong, with its remedy.
    """
    read = Values(env)
    folder = _blobs_folder(read)
    state = folder.parent if folder else Path(".imagedelta").resolve()
    settings = Settings(
        state_folder=state,
        database_url=_database(read),
        storage=read_storage(read),
        blobs_folder=folder,
        blobs_url=read.text("LOCAL_BLOBS_URL"),
        blobs_key=read.base64("LOCAL_BLOBS_KEY"),
        hubs=read_hubs(read),
        module_id=_module(read),
        mail=read_mail(read),
        webhook=read_webhook(read),
        telemetry=read_telemetry(read),
        set_page=_set_page(read),
        seals=read_seal_settings(read),
        priorities_file=_priorities(read),
        grant_lifetime=read.seconds("IMAGEDELTA_GRANT_SECONDS", 30 * 86_400),
        patch_grant_lifetime=read.seconds("IMAGEDELTA_PATCH_GRANT_SECONDS", 7 * 86_400),
        shared_bundles=read.choice("IMAGEDELTA_BUNDLES", "shared", ("shared", "composed")) == "shared",
        patch_lease=read.seconds("IMAGEDELTA_PATCH_LEASE_SECONDS", 300),
        max_build_tries=read.number("IMAGEDELTA_MAX_BUILD_TRIES", 10),
        claim_lease=read.seconds("IMAGEDELTA_CLAIM_LEASE_SECONDS", 120),
        max_attempts=read.number("IMAGEDELTA_MAX_ATTEMPTS", 4),
        max_notify_tries=read.number("IMAGEDELTA_MAX_NOTIFY_TRIES", 24),
        attend_seconds=read.number("IMAGEDELTA_ATTEND_SECONDS", 50, most=600),
        attend_threads=read.number("IMAGEDELTA_ATTEND_THREADS", 8, most=64),
        batch_size=read.number("IMAGEDELTA_BATCH_SIZE", 100, most=_MAX_BATCH),
        silent_after=read.seconds("IMAGEDELTA_SILENT_SECONDS", 14 * 86_400),
        read_hubs_every=read.seconds("IMAGEDELTA_READ_HUBS_SECONDS", 6 * 3_600),
        platform_tag=read.text("IMAGEDELTA_PLATFORM_TAG", "platform"),
        apply_timeout=read.seconds("IMAGEDELTA_APPLY_TIMEOUT_SECONDS", 3_600),
        default_profile=read.choice("IMAGEDELTA_PROFILE", DEFAULT_PROFILE.name, _DEFAULTS),
        thin_link=read.number("IMAGEDELTA_THIN_LINK", _THIN_LINK, least=0),
        recon_repository=_recon_repository(read),
        intake=read_intake(read),
        archive_limits=_archive_limits(read),
        image_containers=_image_containers(read),
        max_upload_bytes=read.number("IMAGEDELTA_MAX_UPLOAD_BYTES", 64 << 30),
        callers=read_caller_settings(read),
    )
    read.refuse()
    return settings


def _blobs_folder(read: Values) -> Path | None:
    """A local host sets its own folder always: a storage account goes before that."""
    own, local = read.text("IMAGEDELTA_BLOBS_DIR"), read.text("LOCAL_BLOBS_DIR")
    if own and read.text("IMAGEDELTA_STORAGE"):
        read.wrong("IMAGEDELTA_BLOBS_DIR", "is set beside IMAGEDELTA_STORAGE: blobs lie in one place, set one of them")
    return Path(own or local) if own or local else None


def _database(read: Values) -> str | None:
    name = "IMAGEDELTA_DATABASE_URL"
    url = read.text(name)
    if not url:
        return None
    scheme, _, rest = url.partition("://")
    if scheme not in _DATABASES:
        read.wrong(name, f"must start with {' or '.join(f'{scheme}://' for scheme in _DATABASES)}")
    elif scheme == "sqlite" and not (folder := Path(rest.removeprefix("/").partition("?")[0]).parent).is_dir():
        read.wrong(name, f"names a file in {folder}, which is no folder: create it, or correct the path")
    return url


def _set_page(read: Values) -> str:
    name = "IMAGEDELTA_SET_PAGE"
    page = read.text(name)
    if page and not (_SET_PAGE.fullmatch(page) and page.count("{set}") == 1):
        read.wrong(name, "must be an http(s):// URL that holds {set} once, where the id of a set goes")
        return ""
    return page


def _priorities(read: Values) -> Path:
    name = "IMAGEDELTA_PRIORITIES"
    given, path = read.text(name), Path(read.text(name, "priorities.yaml"))
    if given and not path.is_file():
        read.wrong(name, f"names {path.absolute()}, which is no file: correct the path")
    try:
        read_rules(path)
    except ImageDeltaError as error:
        read.wrong(name, f"cannot be used: {error}")
    return path


def _recon_repository(read: Values) -> str:
    name = "IMAGEDELTA_RECON_REFERENCE"
    try:
        return parse_name(read.text(name, "imagereconstruction")).repository
    except ImageDeltaError as error:
        read.wrong(name, f"names no image: {error}")
        return ""


def _archive_limits(read: Values) -> Limits:
    name = "IMAGEDELTA_LIMITS"
    try:
        return raised_limits(read.text(name))
    except ImageDeltaError as error:
        read.wrong(name, f"cannot be used: {error}")
        return DEFAULT_LIMITS


def _image_containers(read: Values) -> frozenset[str]:
    """Uploads always; never what is the cloud's own: whoever may register an image could read it that way."""
    name = "IMAGEDELTA_IMAGE_CONTAINERS"
    given = {part.strip() for part in read.text(name).split(",") if part.strip()}
    for container in sorted(given):
        if not _CONTAINER.fullmatch(container):
            read.wrong(name, f"holds {container[:70]!r}: a container's name is 3 to 63 of a-z, 0-9 and single dashes")
        elif container in OWN_CONTAINERS or container.startswith(_OTHERS_CONTAINERS):
            read.wrong(name, f"holds {container}, which is not for archives")
    return frozenset(given | {"intake"})


def _module(read: Values) -> str:
    name = "IMAGEDELTA_MODULE_ID"
    module = read.text(name, "imagereconstruction")
    if not _MODULE.fullmatch(module):
        read.wrong(name, f"must be the id of a module, without spaces and slashes, not {module[:60]!r}")
    return module
