"""The engine that the settings name, opened."""

from __future__ import annotations

from edge_module.damage import DamageLog
from edge_module.engines.base import Engine
from edge_module.engines.layout import LayoutEngine
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import Login, RegistryClient
from edge_module.engines.registry_shared import RegistryShared
from edge_module.files import Files
from edge_module.settings import Settings


def open_engine(settings: Settings, files: Files, damage: DamageLog | None = None) -> Engine:
    """Nothing of its images is read or written yet."""
    match settings.engine:
        case "registry":
            return RegistryEngine(_registry(settings), files, RegistryShared(settings.registry_shared))
        case _:
            return LayoutEngine(files, damage=damage)


def _registry(settings: Settings) -> RegistryClient:
    user, _, password = settings.registry_login.partition(":")
    login = Login(user, password) if user else None
    return RegistryClient(settings.registry_address, login, silence_seconds=settings.silence_seconds)
