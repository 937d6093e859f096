"""The host as a process: state folder, settings, port, signals, exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from imagedelta_host.errors import HostError
from imagedelta_host.host import Host
from imagedelta_host.keys import HostKeys
from imagedelta_host.loader import load_app
from imagedelta_host.logs import configure_logging
from imagedelta_host.mounts import MakeMount, Place
from imagedelta_host.settings import apply_local_settings, load_host_settings
from imagedelta_host.state import StateFolder

log = logging.getLogger("imagedelta_host")

DEFAULT_PORT = 7071
DEFAULT_STATE = Path(".imagedelta/host")
ADDRESS = "127.0.0.1"


def serve(
    app_dir: Path,
    port: int = DEFAULT_PORT,
    state_dir: Path = DEFAULT_STATE,
    mounts: Sequence[MakeMount] = (),
    prepare: Callable[[Path], object] = lambda app_dir: None,
) -> int:
    """Serve an app until SIGINT or SIGTERM; returns the exit code.

    Args:
        app_dir: The folder of function_app.py and host.json.
        port: 0 takes the port of the last host on this state if it is free, else any.
        state_dir: Where keys, orchestrations and the state of mounts are kept.
        mounts: What else to serve beside the functions.
        prepare: What a deployment of the app does before it starts; called with its folder and its settings in place.

    Raises:
        HostError: The app, a setting, the port or the state folder is not usable.
    """
    configure_logging()
    app_dir = app_dir.resolve()
    state = StateFolder(state_dir)
    listener = _listen(port, state)
    url = f"http://{ADDRESS}:{listener.getsockname()[1]}"
    apply_local_settings(app_dir, os.environ)
    keys = HostKeys(state.path / "keys.json")
    mounted = [make(Place(state.path, url, keys.of_mount)) for make in mounts]
    for mount in mounted:
        for name, value in mount.settings().items():
            os.environ.setdefault(name, value)
    settings = load_host_settings(app_dir)
    functions = load_app(app_dir)
    prepare(app_dir)

    async def run() -> int:
        host = Host(app_dir, state.path, functions, settings, keys, url, mounted)
        stopping = _catch_signals()
        await host.start(listener)
        told = {name: value for mount in mounted for name, value in mount.describe().items()}
        state.announce(url, listener.getsockname()[1], keys.function, keys.master, told)
        log.info("Functions of %s:\n  %s", app_dir, "\n  ".join(host.describe()))
        log.info("Host is ready at %s (state in %s)", url, state.path)
        await stopping.wait()
        log.info("Stopping: finishing what runs; a second signal stops at once")
        if not await host.stop():
            log.warning("Stopped with work unfinished; it goes on at the next start")
        state.withdraw()
        return 0

    return asyncio.run(run())


def _catch_signals() -> asyncio.Event:
    """The first SIGINT or SIGTERM sets the event, the second ends the process."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return stopping


def _listen(port: int, state: StateFolder) -> socket.socket:
    """A bound socket.

    Raises:
        HostError: The port is taken.
    """
    wanted = [port] if port else [state.last_port(), 0]
    for candidate in wanted:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, candidate))
        except OSError as error:
            listener.close()
            if port:
                raise HostError(
                    f"the port {port} is taken: choose another with --port", code="host.port_taken"
                ) from error
            continue
        return listener
    raise HostError("no free port was found", code="host.port_taken")
