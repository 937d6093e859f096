"""The engine that the settings name, opened."""

from __future__ import annotations

from edge_module.engines.base import Engine
from edge_module.engines.layout import LayoutEngine
from edge_module.files import Files
from edge_module.settings import Settings


def open_engine(settings: Settings, files: Files) -> Engine:
    """Nothing is read or written yet beyond what choosing takes."""
    return LayoutEngine(files)
