"""Makes the ports from settings, once for each process; the only place that chooses adapters."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from contracts.channels import CHANNELS, MAIL
from contracts.records import ARCHIVE
from imagedelta.bundles.keys import private_key_from_pem, write_key_pair
from imagedelta.bundles.seal import Ed25519Sealer, FileSealer, Sealer
from imagedelta.errors import RequestError
from services.blobs.azure_settings import StorageSettings
from services.blobs.folder import FolderBlobs
from services.clock import utc_now
from services.deps import Deps
from services.hubs.budget import RESERVED, BudgetedCalls, Budgets
from services.hubs.calls import HubCalls
from services.hubs.hub import IotHub
from services.hubs.rest import RestCalls
from services.hubs.settings import HubSettings, own_variable
from services.identity import Identity
from services.notices.mail_smtp import SmtpMailer
from services.notices.webhook_http import HttpWebhook
from services.ports import Blobs, Hub, Registry
from services.registries.intake import IntakeRegistry
from services.registries.settings import registry_variable
from services.seals.keyvault import KeyVaultSealer
from services.seals.sealers import Sealers
from services.settings import Settings, load_settings
from services.watching.telemetry import NoTelemetry, Telemetry
from store.sql import SqlStore

_SQL_SCOPE = "https://database.windows.net/.default"
"""Of tokens for Azure SQL."""
_making = threading.Lock()
log = logging.getLogger(__name__)


def deps() -> Deps:
    """The ports of this process. Nothing is asked of them yet: the database may lack its schema.

    Raises: RequestError ``settings.*`` for a setting that is missing or wrong. A call that raised is tried again by
    the next one.
    """
    with _making:  # functions run in threads: the first ones must not make two
        return _deps()


@lru_cache(maxsize=1)
def _deps() -> Deps:
    return make_deps(load_settings())


def check_settings() -> Settings:
    """Refuse at start what every later call would fail for. With no settings at all there is nothing to refuse: so
    Azure indexes the app, and ``deps`` tells what is missing.

    Raises: RequestError ``settings.invalid`` that names everything that is wrong.
    """
    settings = load_settings()
    _check_queries(settings)
    if settings.database_url is not None:
        _store(settings, settings.database_url).close()
    return settings


def upgrade_database(settings: Settings) -> str:
    """Bring the database to this version's schema, which needs the right to change it; returns its revision.

    Raises: DependencyError when SQL does not answer; ``dependency.schema`` when a newer version made it.
    """
    store = _store(settings, settings.database_url or _local_database(settings))
    try:
        return store.migrate()
    finally:
        store.close()


def admit_to_database(settings: Settings, name: str, client_id: str) -> None:
    """Let the app's managed identity into the database, as who administers that.

    Raises: RequestError ``settings.invalid``; DependencyError when SQL does not answer.
    """
    store = _store(settings, settings.database_url or _local_database(settings))
    try:
        store.admit(name, client_id)
    finally:
        store.close()


def make_deps(settings: Settings) -> Deps:
    _check_queries(settings)
    identity = Identity()
    return Deps(
        settings=settings,
        store=_store(settings, settings.database_url or _local_database(settings)),
        blobs=_blobs(settings, identity),
        hubs={name: _hub(hub, identity) for name, hub in settings.hubs.items()},
        registries=_registries(settings, identity),
        mailer=SmtpMailer(settings.mail),
        sealers=_sealers(settings, identity),
        now=utc_now,
        webhook=HttpWebhook(settings.webhook) if settings.webhook else None,
        telemetry=_telemetry(settings),
    )


def _telemetry(settings: Settings) -> Telemetry:
    if not settings.telemetry.watched:
        return NoTelemetry()
    try:
        from services.watching.otel import make_telemetry  # 0.1 to 0.4 s and 10 to 40 MB, for those who want it

        return make_telemetry(settings.telemetry, Identity())
    except Exception as error:  # whatever an SDK raises: nobody's images wait for figures
        log.warning("spans and metrics are not sent: %s: %s", type(error).__name__, error)
        return NoTelemetry()


def _store(settings: Settings, url: str) -> SqlStore:
    identity = Identity()
    return SqlStore(
        url,
        module_id=settings.module_id,
        max_attempts=settings.max_attempts,
        silent_after=settings.silent_after,
        channels=CHANNELS if settings.webhook else (MAIL,),
        access_token=lambda: identity.token(_SQL_SCOPE),
    )


def _blobs(settings: Settings, identity: Identity) -> Blobs:
    if settings.storage is not None:
        return _account(settings.storage, identity)
    if settings.blobs_folder is None:
        raise RequestError(
            "IMAGEDELTA_STORAGE is not set, nor LOCAL_BLOBS_DIR or IMAGEDELTA_BLOBS_DIR", code="settings.invalid"
        )
    return FolderBlobs(settings.blobs_folder, url=settings.blobs_url, key=settings.blobs_key)


def _account(storage: StorageSettings, identity: Identity) -> Blobs:
    """Imported here: the SDK takes half a second, and the embedded default needs none."""
    from services.blobs.azure import AzureBlobs
    from services.blobs.azure_account import Account

    return AzureBlobs(Account(storage, None if storage.key else identity.credential))


def _hub(hub: HubSettings, identity: Identity) -> Hub:
    calls = hub_calls(hub, identity)
    if hub.connection.is_local:
        return IotHub(calls)  # it has no limits
    budgets = Budgets(hub.units)
    return IotHub(BudgetedCalls(calls, budgets), BudgetedCalls(calls, budgets, RESERVED), budgets.writes.left)


def hub_calls(hub: HubSettings, identity: Identity) -> HubCalls:
    """Azure's library where it can be: on arm64 there is no wheel of its uamqp.

    Raises: RequestError ``settings.invalid`` when it is wanted and cannot be.
    """
    if hub.client == "rest" or hub.connection.is_local:
        return RestCalls(hub.name, hub.connection, identity)
    try:
        from services.hubs.sdk import SdkCalls
    except ImportError as error:
        if hub.client == "sdk":
            variable = own_variable(hub.name, "CLIENT")
            raise RequestError(
                f"{variable} is sdk, and azure-iot-hub cannot be imported here ({error}): leave it out, or set rest",
                code="settings.invalid",
            ) from error
        return RestCalls(hub.name, hub.connection, identity)
    return SdkCalls(hub.name, hub.connection, identity)


def _sealers(settings: Settings, identity: Identity) -> Sealers:
    of = settings.seals
    sealers: list[Sealer] = [_sealer(key, identity) for key in of.keys]
    sealers += [Ed25519Sealer(private_key_from_pem(text.encode())) for text in of.texts]
    return Sealers(sealers or [FileSealer(_local_key(settings))])


def _sealer(key: Path | str, identity: Identity) -> Sealer:
    return FileSealer(key) if isinstance(key, Path) else KeyVaultSealer(key, identity)


def _registries(settings: Settings, identity: Identity) -> dict[str, Registry]:
    limits = settings.archive_limits
    return {name: IntakeRegistry(each, identity.token, limits) for name, each in settings.intake.registries.items()}


def _check_queries(settings: Settings) -> None:
    """Which devices a registry may feed is a query in the database's language, which the settings do not know.

    Raises: RequestError ``settings.invalid``.
    """
    for origin, query in settings.intake.rules.items():
        if query:
            variable = "IMAGEDELTA_ARCHIVE_DEVICES" if origin == ARCHIVE else registry_variable(origin, "DEVICES")
            try:
                SqlStore.check_tag_query(query)
            except RequestError as error:
                raise RequestError(f"{variable} cannot be used: {error}", code="settings.invalid") from error


def _local_database(settings: Settings) -> str:
    """The database of an app that was given none: a file in the state folder, which is made."""
    folder = settings.state_folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(
            f"IMAGEDELTA_DATABASE_URL is not set, and the folder {folder} of the default cannot be made: "
            f"{error.strerror}",
            code="settings.invalid",
        ) from error
    return f"sqlite:///{folder / 'imagedelta.db'}"


def _local_key(settings: Settings) -> Path:
    """The key of a local host that was given none: made once in its state folder, the public half as ``.pub``."""
    if settings.blobs_folder is None and not (settings.storage and settings.storage.is_emulator):
        raise RequestError(
            "IMAGEDELTA_SEAL_KEYS is not set: `imagedelta keys new` makes a key file", code="settings.invalid"
        )
    path = settings.state_folder / "seal.key"
    if not path.exists():
        _make_key(path)
    return path


def _make_key(path: Path) -> None:
    """Make the pair under other names and link both, so that a second process never sees half a key.

    The public half goes first: it may be left over from a crash, the private half is never without it.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        write_key_pair(made)
        made.with_name(f"{path.name}.pub").rename(path.with_name(f"{path.name}.pub"))
        with suppress(FileExistsError):
            os.link(made, path)
    public = FileSealer(path).public_key.to_text() + "\n"
    path.with_name(f"{path.name}.pub").write_text(public)  # of two that raced, the pair that won
