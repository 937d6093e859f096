"""The engine that the settings name, opened; and the Docker store beside a local registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from edge_module.adoption import Adoption
from edge_module.beside_docker import DockerStore
from edge_module.damage import DamageLog
from edge_module.engines.base import Engine
from edge_module.engines.choosing import choose_engine
from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon, is_listening
from edge_module.engines.docker_disk import free_on_docker_disk
from edge_module.engines.docker_files import DockerFiles
from edge_module.engines.docker_images import DaemonImages
from edge_module.engines.docker_registry import LocalRegistry
from edge_module.engines.layout import LayoutEngine
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import Login, RegistryClient, address_of
from edge_module.engines.registry_shared import RegistryShared
from edge_module.engines.unpacked import DEVICE_LIMITS
from edge_module.files import Files
from edge_module.last_pull import LastPulls
from edge_module.settings import NO_REGISTRY, Settings


def open_engine(
    settings: Settings,
    files: Files,
    sleep: Callable[[float], None] = time.sleep,
    damage: DamageLog | None = None,
) -> Engine:
    """No image is read or written yet.

    Args:
        sleep: Between two looks whether a registry answers, where the settings leave the engine open.
        damage: Told of damage of the engine's own records.
    """
    if settings.engine == "layout":
        return LayoutEngine(files, damage=damage)
    client = _client(settings)
    name = settings.engine if settings.engine != "auto" else choose_engine(files, client.answers, sleep=sleep)
    shared = RegistryShared(settings.registry_shared)
    registry = RegistryEngine(client, files, shared)
    if name == "registry":
        return registry
    local = LocalRegistry(registry, client, _pull_address(settings), shared)
    without = settings.registry_address == NO_REGISTRY or settings.engine == "auto"  # none has answered
    free = partial(free_on_docker_disk, own_folder=settings.root)
    return DockerEngine(files, Daemon(settings.docker_address), None if without else local, free=free)


def open_docker_store(settings: Settings, files: Files, engine: Engine) -> DockerStore | None:
    """None where the images are not in a registry, or no daemon listens."""
    if engine.name != "registry" or not is_listening(settings.docker_address):
        return None
    own = DockerFiles(files)
    store = DaemonImages(Daemon(settings.docker_address), own, DEVICE_LIMITS)
    pull_address = _pull_address(settings)
    return DockerStore(
        Adoption(store, engine, pull_address, settings.reserve_bytes), LastPulls(store, own, engine, pull_address)
    )


def _pull_address(settings: Settings) -> str:
    """By which the daemon knows the registry: as the module does, unless it is told otherwise."""
    return settings.pull_address or address_of(settings.registry_address)


def _client(settings: Settings) -> RegistryClient:
    user, _, password = settings.registry_login.partition(":")
    login = Login(user, password) if user else None
    return RegistryClient(settings.registry_address, login, silence_seconds=settings.silence_seconds)
