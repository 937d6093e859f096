"""Everything outside that a device works with, and the keys it believes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass

from edge_module.beside_docker import DockerStore
from edge_module.bundle_source import OpenContainer
from edge_module.damage import DamageLog
from edge_module.engines import Engine
from edge_module.files import Files
from edge_module.hub import Hub
from edge_module.rebuilds import Rebuilds
from imagedelta.bundles import PublicKey


@dataclass(frozen=True)
class Ports:
    files: Files
    engine: Engine
    hub: Hub
    rebuilds: Rebuilds
    open_container: OpenContainer
    trusted: Mapping[str, PublicKey]
    _: KW_ONLY
    monotonic: Callable[[], float] = time.monotonic
    alive: Callable[[str], None] = lambda _part: None
    """Called with the name of a part each time it turns."""
    now: Callable[[], float] = time.time
    damage: DamageLog | None = None
    """Shared with the engine, which tells of its own damage there."""
    docker: DockerStore | None = None
    """Where a Docker socket is beside the local registry that keeps the images."""
