"""The engine that the settings name, opened."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_module.engines.base import Engine
from edge_module.engines.choosing import choose_engine
from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon
from edge_module.engines.docker_registry import LocalRegistry
from edge_module.engines.layout import LayoutEngine
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import Login, RegistryClient
from edge_module.engines.registry_shared import RegistryShared
from edge_module.files import Files
from edge_module.settings import NO_REGISTRY, Settings


def open_engine(settings: Settings, files: Files, sleep: Callable[[float], None] = time.sleep) -> Engine:
    """No image is read or written yet.

    Args:
        sleep: Between two looks whether a registry answers, where the settings leave the engine open.
    """
    if settings.engine == "layout":
        return LayoutEngine(files)
    client = _client(settings)
    name = settings.engine if settings.engine != "auto" else choose_engine(files, client.answers, sleep=sleep)
    shared = RegistryShared(settings.registry_shared)
    registry = RegistryEngine(client, files, shared)
    if name == "registry":
        return registry
    local = LocalRegistry(registry, client, settings.pull_address or client.address, shared)
    without = settings.registry_address == NO_REGISTRY
    return DockerEngine(files, Daemon(settings.docker_address), None if without else local)


def _client(settings: Settings) -> RegistryClient:
    user, _, password = settings.registry_login.partition(":")
    login = Login(user, password) if user else None
    return RegistryClient(settings.registry_address, login, silence_seconds=settings.silence_seconds)
