"""The module as a service: what it works with is opened here, and it runs until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Mapping
from functools import partial

from edge_module.damage import DamageLog
from edge_module.device import Device
from edge_module.engines import Engine
from edge_module.engines.opening import open_docker_store, open_engine
from edge_module.files import DiskFiles, RootLock
from edge_module.heartbeat import Heartbeat, heartbeat_path
from edge_module.hub_choice import open_hub
from edge_module.ports import Ports
from edge_module.rebuild import Rebuilder
from edge_module.rebuild_child import serve_stdio
from edge_module.rebuild_process import RebuildProcess, Surroundings
from edge_module.refused import RefusedFiles
from edge_module.settings import Settings, trusted_keys_from_environment
from edge_module.verdict import STOPPED
from imagedelta.errors import DependencyError
from services.blobs.http import BlobContainer
from services.http_bounded import bounded_client

HUNG = 4
"""Exit code: a part has not turned for HUNG_SECONDS, and only a new process helps."""
HUNG_SECONDS = 7 * 3600.0
"""Longer than anything takes that is bounded: a Docker daemon has six hours for one image."""
_LOOK_SECONDS = 30.0
_OF_THE_HUB = ("IMAGEDELTA_HUB", "EdgeHubConnectionString")
"""What a rebuild needs not know."""
log = logging.getLogger("imagedelta")


def run(settings: Settings, environment: Mapping[str, str], lock: RootLock, *, until_idle: bool) -> int:
    """Fetch, rebuild and report until SIGTERM or SIGINT; returns the exit code."""
    trusted = trusted_keys_from_environment(environment)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    files = DiskFiles(settings.root)
    heartbeat = Heartbeat(heartbeat_path(settings.root))
    silence = settings.silence_seconds
    with bounded_client(silence) as of_hub, bounded_client(silence) as of_link:
        hub = open_hub(environment, of_hub, silence)
        damage = DamageLog(files)
        engine = open_engine(settings, files, partial(pause, stop), damage)
        child = {name: value for name, value in environment.items() if name not in _OF_THE_HUB}
        surroundings = Surroundings({**child, **_chosen(settings, engine)}, (lock.fileno(),))
        rebuilds = RebuildProcess(surroundings, partial(heartbeat.beat, "apply"))
        ports = Ports(
            files,
            engine,
            hub,
            rebuilds,
            lambda url, query: BlobContainer(of_link, url, query),
            trusted,
            docker=open_docker_store(settings, files, engine),
            alive=heartbeat.beat,
            damage=damage,
        )
        device = Device(settings, ports)
        log.info("device %s, images in %s, engine %s", hub.device_id, settings.root, engine.name)
        watchdog = Watchdog(heartbeat, stop)
        watchdog.start()
        device.run(stop, until_idle=until_idle)
        log.info("stopped")
    return HUNG if watchdog.found else 0


def rebuild(settings: Settings) -> int:
    """Do the one task on stdin; this is the process that ``run`` starts for each image."""
    files = DiskFiles(settings.root)
    engine = open_engine(settings, files)
    serve_stdio(Rebuilder(files, engine, RefusedFiles(files), settings.reserve_bytes))
    return 0


def _chosen(settings: Settings, engine: Engine) -> dict[str, str]:
    """Settings by which a child opens the same engine without choosing anew."""
    no_registry = settings.engine == "auto" and engine.name == "docker"
    return {"IMAGEDELTA_ENGINE": engine.name, **({"IMAGEDELTA_REGISTRY": "none"} if no_registry else {})}


def pause(stop: threading.Event, seconds: float) -> None:
    """Raises: DependencyError when the module is told to stop meanwhile."""
    if stop.wait(seconds):
        raise DependencyError("stopped before an engine was found", code=STOPPED)


class Watchdog:
    """Stops the module when a part hangs: whoever started it starts it anew, and it goes on where it was."""

    def __init__(self, heartbeat: Heartbeat, stop: threading.Event) -> None:
        self._heartbeat = heartbeat
        self._stop = stop
        self.found: list[str] = []

    def start(self) -> None:
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self.found = self._heartbeat.overdue(HUNG_SECONDS)
            if self.found:
                log.error("%s hangs: the module ends, to be started anew", " and ".join(self.found))
                self._stop.set()
